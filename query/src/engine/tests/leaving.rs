//! Nothing goes on for a client that has left, whatever the query is at.

use super::*;
use crate::batch::{BatchBuilder, Row, RowBuffer};
use crate::engine::result::{self, Form};
use crate::functions::Grid;
use crate::testing::gated::{self, gated};

/// Threads for queries, apart from that of the test.
fn threads() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap()
}

#[test]
fn a_loop_that_does_not_wait_sees_that_the_query_was_dropped() {
    let limits = Limits { samples_max: 1, memory_bytes_max: 1, deadline: Duration::from_secs(1) };
    let clock = Arc::new(ManualClock::default());
    let context = Arc::new(QueryContext::new(Arc::new(series(1)), TenantId::anonymous(), limits, clock));
    let guard = context.cancel_on_drop();
    assert!(context.check_deadline().is_ok());
    drop(guard);
    let error = QueryError::from_datafusion(&context.check_deadline().unwrap_err(), 1);
    assert_eq!(error.to_string(), "query was canceled in expression evaluation");
}

#[test]
fn dropping_a_query_stops_its_reads() {
    let (engine, _go, selecting) = waiting(EngineOptions::default());
    let tenant = TenantId::anonymous();
    block_on(async {
        let mut query = Box::pin(engine.instant(&tenant, "sum(m)", 0, QueryOptions::default()));
        while selecting.load(Ordering::SeqCst) == 0 {
            assert!(futures::poll!(&mut query).is_pending());
            tokio::task::yield_now().await;
        }
        drop(query);
        while selecting.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn work_that_does_not_wait_ends_where_it_is() {
    for text in ["m", "rate(m[1m])", "m[1m]", "sum(m)", "m + on () group_left () vector(scalar(m))"] {
        let (source, gate) = gated();
        let threads = threads();
        let engine = engine(source, EngineOptions::default()).on_threads(threads.handle().clone());
        block_on(async {
            let tenant = TenantId::anonymous();
            let mut query = Box::pin(engine.instant(&tenant, text, 0, QueryOptions::default()));
            assert!(futures::poll!(&mut query).is_pending());
            gate.wait();
            drop(query);
        });
        assert_eq!(gate.open(), 1, "{text}: of {} series", gated::SERIES);
    }
}

#[test]
fn work_that_does_not_wait_ends_with_the_querys_timeout() {
    let (source, gate) = gated();
    let threads = threads();
    let engine = engine(source, EngineOptions::default()).on_threads(threads.handle().clone());
    block_on(async {
        // Long enough for the reading to begin on a busy machine; then the query waits for its timeout.
        let options = QueryOptions { timeout: Some(Duration::from_secs(3)), ..QueryOptions::default() };
        let error = engine.instant(&TenantId::anonymous(), "m", 0, options).await.unwrap_err();
        assert_eq!(error.to_string(), "query timed out in expression evaluation");
    });
    // With the source, so that a reading that has not begun ends the test.
    drop(engine);
    gate.wait();
    assert_eq!(gate.open(), 1);
}

#[test]
fn no_answer_is_made_for_nobody() {
    let limits = Limits { samples_max: 1, memory_bytes_max: 1 << 20, deadline: Duration::from_secs(1) };
    let clock = Arc::new(ManualClock::default());
    let query = Arc::new(QueryContext::new(Arc::new(series(1)), TenantId::anonymous(), limits, clock));
    let rows = || {
        let mut batch = BatchBuilder::new(1);
        let row = |labels| Row { labels, drop_name: false, present: &[1], values: &[1.0], histograms: None };
        batch.push(row(&[]));
        let mut rows = RowBuffer::new(query.reserve_result());
        rows.push(batch.finish().unwrap()).unwrap();
        rows
    };
    for form in [Form::Matrix, Form::Vector { is_ordered: false }, Form::Vector { is_ordered: true }] {
        assert!(result::of(form, rows(), &Grid::instant(0), &query).is_ok());
    }
    drop(query.cancel_on_drop());
    for form in [Form::Matrix, Form::Vector { is_ordered: false }, Form::Vector { is_ordered: true }] {
        let error = result::of(form, rows(), &Grid::instant(0), &query).unwrap_err();
        assert_eq!(QueryError::from_datafusion(&error, 1).to_string(), "query was canceled in expression evaluation");
    }
    assert!(result::sorted(vec![Series::default()], &query).is_err());
}
