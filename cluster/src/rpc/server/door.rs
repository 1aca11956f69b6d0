//! The [`Door`](crate::rpc::introduction::Door) on the wire.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::Hall;
use super::visit::Visitor;
use crate::peers::NodeId;
use crate::rpc::identity::{Refusal, Standing, named_by};
use crate::rpc::introduction::Introduction;
use crate::rpc::status::{malformed, not_let_in, refused};
use crate::rpc::wire;
use crate::rpc::wire::door_server::Door;

pub(super) struct DoorHandler {
    pub(super) hall: Arc<Hall>,
    pub(super) visitor: Arc<Visitor>,
}

impl DoorHandler {
    /// Whether the visitor is who it says, as far as can be told of one who is no member.
    fn meet(&self, visitor: wire::Introduction) -> Result<Introduction, Refusal> {
        let identity = &self.hall.shared.identity;
        let caller: NodeId = visitor.node;
        let visitor = Introduction::from_wire(visitor).map_err(|theirs| Refusal::Protocol {
            caller,
            theirs,
            here: identity.node,
        })?;
        named_by(self.visitor.certificate.as_ref(), caller, &visitor.address)?;
        Ok(visitor)
    }

    fn refused(&self, refusal: &Refusal) -> Status {
        self.hall.shared.metrics.refused.with_label_values(&[refusal.label()]).inc();
        not_let_in(refusal)
    }
}

#[tonic::async_trait]
impl Door for DoorHandler {
    /// Answers removed nodes too: what they learn is that they were.
    async fn probe(&self, request: Request<wire::Introduction>) -> Result<Response<wire::Introduction>, Status> {
        self.meet(request.into_inner()).map_err(|refusal| self.refused(&refusal))?;
        Ok(Response::new(self.hall.door.introduction().to_wire()))
    }

    async fn admit(&self, request: Request<wire::Application>) -> Result<Response<wire::Admission>, Status> {
        let wire::Application { applicant, details } = request.into_inner();
        let applicant = applicant.ok_or_else(|| malformed("an application without an introduction"))?;
        let applicant = self.meet(applicant).map_err(|refusal| self.refused(&refusal))?;
        let caller = applicant.node;
        if (self.hall.shared.members)(caller) == Standing::Removed {
            return Err(self.refused(&Refusal::Removed { caller }));
        }
        let identity = &self.hall.shared.identity;
        if applicant.name != identity.cluster {
            return Err(self.refused(&Refusal::Cluster {
                ours: identity.cluster.clone(),
                theirs: applicant.name,
                here: identity.node,
            }));
        }
        let admitted = self.hall.door.admit(applicant, details).await;
        admitted.map(|details| Response::new(wire::Admission { details })).map_err(|error| refused(&error))
    }
}
