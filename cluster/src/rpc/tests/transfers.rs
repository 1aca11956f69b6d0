//! Uploads and downloads.

use std::num::NonZeroU64;

use futures::FutureExt;

use super::*;

const MIB: usize = 1 << 20;

fn pieces(count: usize) -> Pieces {
    stream::iter(0..count).map(|n| Ok(piece(n))).boxed()
}

fn header(count: usize) -> Bytes {
    Bytes::from((count as u64).to_le_bytes().to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_upload_arrives_whole() {
    let book = Book::default();
    let (one, two) = (TestNode::start(1, &book).await, TestNode::start(2, &book).await);
    let mut digest = crc32fast::Hasher::new();
    (0..1024).for_each(|n| digest.update(&piece(n)));
    let answer = one.network.upload(2, SINK, "snapshot".into(), pieces(1024)).await;
    assert_eq!(answer, Ok(format!("snapshot {} {:08x}", 64 * MIB, digest.finalize()).into()));
    assert_eq!(one.metric("pharos_rpc_transfers", &[]) + two.metric("pharos_rpc_transfers", &[]), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_whose_pieces_fail_is_an_error_at_both_ends() {
    let book = Book::default();
    let (one, two) = (TestNode::start(1, &book).await, TestNode::start(2, &book).await);
    let failed = CallError::Refused { reason: "the disk is gone".to_owned() };
    let pieces = stream::iter([Ok(piece(0)), Err(failed.clone())]).boxed();
    assert_eq!(one.network.upload(2, SINK, Bytes::new(), pieces).await, Err(failed));
    until("the service heard of it", || two.script.held() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_given_up_by_its_sender_is_dropped_by_its_service() {
    let book = Book::default();
    let (one, two) = (TestNode::start(1, &book).await, TestNode::start(2, &book).await);
    for method in [SINK, STUCK] {
        let network = Arc::clone(&one.network);
        // More than fits anywhere on the way, and never an end.
        let endless = stream::iter(0..).map(|n| Ok(piece(n))).boxed();
        let upload = tokio::spawn(async move { network.upload(2, method, Bytes::new(), endless).await });
        until("the upload began", || two.script.held() == 1).await;
        upload.abort();
        until("the service's future is dropped", || two.script.held() == 0).await;
    }
    until("its tasks are gone", || one.metric("pharos_rpc_transfers", &[]) == 0.0).await;
    assert_eq!(one.call(2, ECHO, "well").await, Ok("well".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_bounds_what_is_sent_and_holds_up_nothing() {
    let book = Book::default();
    let (one, two) = (TestNode::start(1, &book).await, TestNode::start(2, &book).await);
    let mut download = one.network.download(2, SOURCE, header(2048)).await.expect("a download");
    assert_eq!(download.next().await, Some(Ok(piece(0))));
    for n in 0..2000u64 {
        let body = Bytes::from(n.to_le_bytes().to_vec());
        assert_eq!(one.call(2, ECHO, body.clone()).await, Ok(body));
    }
    let ahead = two.script.produced.load(Ordering::SeqCst) * (64 << 10);
    assert!(ahead <= 2 * MIB, "{ahead} bytes were sent to a reader who took one piece");
    for n in 1..2048 {
        assert_eq!(download.next().await, Some(Ok(piece(n))), "piece {n}");
    }
    assert_eq!(download.next().await, None);
    until("nothing is held", || two.script.held() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_stalled_downloads_as_there_may_be_hold_up_no_call() {
    let book = Book::default();
    let few = |setup: &mut Setup| setup.options.transfers_max = 8;
    let one = TestNode::start_with(1, &book, "127.0.0.1:0", few).await;
    let two = TestNode::start_with(2, &book, "127.0.0.1:0", few).await;
    let mut stalled = Vec::new();
    for _ in 0..8 {
        stalled.push(one.network.download(2, SOURCE, header(1024)).await.expect("a download"));
    }
    let (too_many, _) = (one.network.download(2, SOURCE, header(1)).await.map(drop).expect_err("no place"), ());
    assert!(reason(too_many).contains("8 uploads and downloads"));
    for _ in 0..500 {
        assert_eq!(one.call(2, ECHO, vec![1; 10_000]).await, Ok(vec![1; 10_000].into()));
    }
    drop(stalled);
    until("their sources are dropped", || two.script.held() == 0).await;
    let rest = one.network.download(2, SOURCE, header(3)).await.expect("places are free again");
    assert_eq!(rest.collect::<Vec<_>>().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_number_of_transfers_may_be_given_up_on_one_connection() {
    let book = Book::default();
    let (one, two) = (TestNode::start(1, &book).await, TestNode::start(2, &book).await);
    for n in 0..12 {
        let mut open = Vec::new();
        for _ in 0..100 {
            let mut download = one.network.download(2, SOURCE, header(64)).await.expect("a download");
            if n % 2 == 0 {
                assert_eq!(download.next().await, Some(Ok(piece(0))));
            }
            open.push(download);
        }
        let uploads = (0..20).map(|_| one.network.upload(2, STUCK, Bytes::new(), pieces(64)));
        // Polled once each, then dropped.
        let begun = futures::future::join_all(uploads).now_or_never();
        assert!(begun.is_none());
        drop(open);
        until("all are dropped", || two.script.held() == 0).await;
    }
    assert_eq!(one.call(2, ECHO, "").await, Ok("".into()));
    assert_eq!(one.metric("pharos_rpc_connects_total", &[]), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_fails_says_why_and_where() {
    let book = Book::default();
    let (one, _two) = (TestNode::start(1, &book).await, TestNode::start(2, &book).await);
    let refused = |reason: &str| CallError::Refused { reason: reason.to_owned() };
    let none = one.network.download(2, STUCK, Bytes::new()).await.map(drop);
    assert_eq!(none, Err(refused("no such source")));
    let fails = Bytes::from([&2u64.to_le_bytes()[..], b"!"].concat());
    let got: Vec<_> = one.network.download(2, SOURCE, fails).await.expect("a download").collect().await;
    assert_eq!(got, [Ok(piece(0)), Ok(piece(1)), Err(refused("the disk is gone"))]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_cut_off_by_the_other_sides_death_is_lost_not_short() {
    let book = Book::default();
    let (one, two) = (TestNode::start(1, &book).await, TestNode::start(2, &book).await);
    let mut download = one.network.download(2, SOURCE, header(4096)).await.expect("a download");
    assert_eq!(download.next().await, Some(Ok(piece(0))));
    two.network.close().await;
    let rest: Vec<_> = download.collect().await;
    assert!(matches!(rest.last(), Some(Err(CallError::Lost { node: 2, .. }))), "{:?}", rest.last());
}

#[tokio::test(start_paused = true)]
async fn uploads_keep_to_their_rate() {
    let book = Book::default();
    let memory = memory::Memory::default();
    let rate = NonZeroU64::new(MIB as u64);
    let one = memory.node(1, &book, |setup| setup.options.upload_bytes_per_second = rate).await;
    let _two = memory.node(2, &book, |_| ()).await;
    let began = tokio::time::Instant::now();
    let uploads = (0..2).map(|_| one.network.upload(2, SINK, Bytes::new(), pieces(160)));
    let answers = futures::future::join_all(uploads).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let seconds = began.elapsed().as_secs_f64();
    assert!((19.0..21.0).contains(&seconds), "20 MiB at 1 MiB a second took {seconds} s");
    assert!(one.metric("pharos_rpc_upload_throttled_seconds_total", &[]) > 18.0);
}
