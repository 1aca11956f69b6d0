//! Scrape targets that note who scrapes them.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::history::{About, Action, Kind, Recorder, Scrape};

/// The configuration by which nodes find the targets. Each says its name as a parameter, because on the loopback all have one address.
pub fn scrape_config(addresses: &[SocketAddr], interval_seconds: u64) -> String {
    let targets = addresses.iter().map(|address| format!("'{address}'")).collect::<Vec<_>>().join(", ");
    format!(
        "scrape_configs:\n- job_name: jepsen-targets\n  scrape_interval: {interval_seconds}s\n  scrape_timeout: \
         {interval_seconds}s\n  params: {{node: [NODE]}}\n  static_configs: [{{targets: [{targets}]}}]\n"
    )
}

/// So many targets at ports of their own; they end with the set.
pub async fn serve(host: IpAddr, count: usize, recorder: &Recorder) -> Result<(Vec<SocketAddr>, JoinSet<()>)> {
    let (mut addresses, mut tasks) = (Vec::new(), JoinSet::new());
    for number in 0..count {
        let listener = TcpListener::bind((host, 0)).await?;
        addresses.push(listener.local_addr()?);
        let target =
            Arc::new(Target { name: format!("t{number}"), scrapes: AtomicU64::new(0), recorder: recorder.clone() });
        tasks.spawn(accept(listener, target));
    }
    Ok((addresses, tasks))
}

#[derive(Debug)]
struct Target {
    name: String,
    scrapes: AtomicU64,
    recorder: Recorder,
}

async fn accept(listener: TcpListener, target: Arc<Target>) {
    let mut connections = JoinSet::new();
    loop {
        // A connection that fails is the scraper's loss, and shows as a missing scrape.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let target = Arc::clone(&target);
        connections.spawn(async move {
            let service = service_fn(|request| {
                let response = target.answer(&request);
                async move { Ok::<_, Infallible>(response) }
            });
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
        while connections.try_join_next().is_some() {}
    }
}

impl Target {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let query = request.uri().query().unwrap_or_default();
        let node = query.split('&').find_map(|pair| pair.strip_prefix("node=")).unwrap_or("?");
        let action = Action::Scrape(Scrape { target: self.name.clone() });
        self.recorder.record(0, Kind::Ok, action, About::node(node));
        let scrapes = self.scrapes.fetch_add(1, Ordering::Relaxed) + 1;
        let text = format!("# TYPE jepsen_scrapes counter\njepsen_scrapes_total {scrapes}\n");
        let response = Response::builder().header("content-type", "text/plain; version=0.0.4");
        response.body(Full::new(text.into())).expect("a well-formed response")
    }
}
