//! Questions at other nodes' doors, each on a connection of its own.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use tonic::{Code, Status};

use super::Network;
use super::connect::{Channel, open};
use super::introduction::Introduction;
use super::status::words;
use super::wire::door_client::DoorClient;
use super::wire::{Application, PROTOCOL, PROTOCOL_OLDEST};

/// Why a question at a door has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error("{address} does not answer: {reason}")]
    Silent { address: String, reason: String },
    /// The other side's own words.
    #[error("{address} refuses: {reason}")]
    Refused { address: String, reason: String },
}

impl Network {
    /// Asks whoever is at `address` who it is, and says who this node is.
    pub async fn probe(&self, address: &str, me: &Introduction) -> Result<Introduction, AskError> {
        let question = me.to_wire();
        let ask = async move |mut door: DoorClient<Channel>| door.probe(question).await;
        let answer = self.ask(address, self.shared.options.connect_timeout, ask).await?.into_inner();
        Introduction::from_wire(answer).map_err(|(min, max)| AskError::Refused {
            address: address.to_owned(),
            reason: format!(
                "it speaks protocol versions {min} to {max}, this node {PROTOCOL_OLDEST} to {PROTOCOL}: upgrade the older one"
            ),
        })
    }

    /// Asks the node at `address`, which is in a cluster, to take this one in. Whether it did is unknown when it is silent.
    pub async fn apply(
        &self,
        address: &str,
        me: &Introduction,
        details: Bytes,
        patience: Duration,
    ) -> Result<Bytes, AskError> {
        let application = Application { applicant: Some(me.to_wire()), details };
        let ask = async move |mut door: DoorClient<Channel>| door.admit(application).await;
        Ok(self.ask(address, patience, ask).await?.into_inner().details)
    }

    async fn ask<A>(
        &self,
        address: &str,
        patience: Duration,
        question: impl AsyncFnOnce(DoorClient<Channel>) -> Result<A, Status>,
    ) -> Result<A, AskError> {
        let silent = |reason: String| AskError::Silent { address: address.to_owned(), reason };
        let conversation = async {
            let opened = open(&self.shared, address).await.map_err(silent)?;
            let answer = question(DoorClient::new(opened.channel));
            tokio::select! {
                biased;
                answer = answer => answer.map_err(|status| ask_error(address, &status)),
                reason = opened.driver => Err(silent(reason)),
            }
        };
        let answer = timeout(patience, conversation).await;
        answer.unwrap_or_else(|_| Err(silent(format!("no answer within {patience:?}"))))
    }
}

fn ask_error(address: &str, status: &Status) -> AskError {
    let address = address.to_owned();
    match status.code() {
        Code::Aborted | Code::PermissionDenied | Code::InvalidArgument => {
            AskError::Refused { address, reason: status.message().to_owned() }
        }
        _ => AskError::Silent { address, reason: words(status) },
    }
}
