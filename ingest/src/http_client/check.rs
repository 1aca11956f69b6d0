//! Tries the HTTP clients of a configuration before it comes into force, so that it does so as a whole or not at all.

use std::sync::Arc;

use super::{ClientError, HttpClient, Surroundings};
use crate::config::ScrapeConfig;

/// A client that cannot be made, and whose it would be.
#[derive(Debug, thiserror::Error)]
#[error("job {job:?}: {source}")]
pub struct JobClientError {
    pub job: String,
    pub source: ClientError,
}

/// Makes the clients of all jobs and of their HTTP discovery: certificates are read and proxies looked at. Files of
/// credentials are read with each request, and so may still be missing.
pub fn check_clients(jobs: &[Arc<ScrapeConfig>], surroundings: &Surroundings) -> Result<(), JobClientError> {
    each_client(jobs, surroundings, |_| Ok(()))
}

/// As [`check_clients`], and reads the files of credentials too.
pub fn check_clients_and_credentials(
    jobs: &[Arc<ScrapeConfig>],
    surroundings: &Surroundings,
) -> Result<(), JobClientError> {
    each_client(jobs, surroundings, HttpClient::read_credentials)
}

fn each_client(
    jobs: &[Arc<ScrapeConfig>],
    surroundings: &Surroundings,
    look: impl Fn(&HttpClient) -> Result<(), ClientError>,
) -> Result<(), JobClientError> {
    for job in jobs {
        let discovery = job.discovery.http_sd_configs.iter().map(|sd| &sd.http);
        for config in std::iter::once(&job.http).chain(discovery) {
            HttpClient::new(config.clone(), surroundings.clone())
                .and_then(|client| look(&client))
                .map_err(|source| JobClientError { job: job.job_name.clone(), source })?;
        }
    }
    Ok(())
}
