//! What all nodes tell of the targets that they scrape.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::join_all;
use pharos_cluster::peers::NodeId;
use pharos_ingest::remote_write::MetadataStore;
use pharos_ingest::scrape::ScrapeStatus;
use pharos_ingest::scrape::snapshot::{self, Choice, Family, PoolSnapshots, TargetMetadata};
use pharos_ingest::scrape::target::ExternalAddress;
use pharos_model::matcher::all_match;
use pharos_model::{LabelSet, Matcher, Metadata, TenantId};
use pharos_storage::manifest::MatcherText;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::Node;
use super::others::{self, method};
use super::workers::worker_of;

/// What this node has to tell.
#[derive(Debug)]
pub struct Scrapes {
    pub status: ScrapeStatus,
    /// Where users reach this node.
    pub external: ExternalAddress,
    /// Of metrics that came by remote write.
    pub metadata: Arc<MetadataStore>,
}

/// What is asked of a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetQuestion {
    Targets(Choice),
    /// Metadata of the targets with labels that match.
    Metadata {
        matchers: Vec<MatcherText>,
        family: Option<String>,
        families_max: usize,
    },
    /// Metadata of all targets, and of what came by remote write from a tenant.
    Families {
        tenant: String,
        family: Option<String>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetAnswer {
    Targets(PoolSnapshots),
    Metadata(Vec<TargetMetadata>),
    Families(BTreeSet<Family>),
    Failed(String),
}

/// An answer of the nodes together, and who did not give one.
#[derive(Debug)]
pub struct Told<T> {
    pub of_all: T,
    pub warnings: Vec<String>,
}

impl Scrapes {
    pub fn answer(&self, question: TargetQuestion) -> TargetAnswer {
        match question {
            TargetQuestion::Targets(choice) => {
                TargetAnswer::Targets(snapshot::of_pools(&self.status.pools(), &choice, &self.external))
            }
            TargetQuestion::Metadata { matchers, family, families_max } => {
                let matchers: Vec<Matcher> = match matchers.iter().map(MatcherText::compile).collect() {
                    Ok(matchers) => matchers,
                    Err(error) => return TargetAnswer::Failed(error.to_string()),
                };
                let is_asked = |labels: &LabelSet| all_match(&matchers, labels);
                let told = snapshot::metadata_of(&self.status.pools(), is_asked, family.as_deref(), families_max);
                TargetAnswer::Metadata(told)
            }
            TargetQuestion::Families { tenant, family } => match TenantId::new(&tenant) {
                Ok(tenant) => TargetAnswer::Families(self.families(&tenant, family.as_deref())),
                Err(error) => TargetAnswer::Failed(error.to_string()),
            },
        }
    }

    fn families(&self, tenant: &TenantId, family: Option<&str>) -> BTreeSet<Family> {
        let mut families = snapshot::families(&self.status.pools(), family);
        let written = self.metadata.list(tenant).into_iter();
        let written = written.filter(|(name, _)| family.is_none_or(|family| family == &**name));
        families.extend(
            written.map(|(name, metadata)| Family { name: name.to_string(), metadata: Metadata::clone(&metadata) }),
        );
        families
    }
}

impl Node {
    /// Lets this node tell others of its targets, from now on.
    ///
    /// # Panics
    /// When it does already.
    pub fn tell_of(&self, scrapes: Scrapes) {
        self.office.tell_of(scrapes);
    }

    /// Targets of all nodes.
    pub async fn targets(&self, choice: &Choice) -> Told<PoolSnapshots> {
        let told = self.ask_all(&TargetQuestion::Targets(choice.clone())).await;
        let pools = told.of_all.into_iter().filter_map(|answer| match answer {
            TargetAnswer::Targets(pools) => Some(pools),
            _ => None,
        });
        Told { of_all: snapshot::merge(pools), warnings: told.warnings }
    }

    /// Metadata of the targets with labels that match, of one family or all, at most so many families.
    pub async fn target_metadata(
        &self,
        matchers: &[Matcher],
        family: Option<&str>,
        families_max: usize,
    ) -> Told<Vec<TargetMetadata>> {
        let matchers = matchers.iter().map(MatcherText::from).collect();
        let question = TargetQuestion::Metadata { matchers, family: family.map(str::to_owned), families_max };
        let told = self.ask_all(&question).await;
        let answers = told.of_all.into_iter().filter_map(|answer| match answer {
            TargetAnswer::Metadata(metadata) => Some(metadata),
            _ => None,
        });
        Told { of_all: snapshot::merge_metadata(answers, families_max), warnings: told.warnings }
    }

    /// Metadata of all targets, and of what came by remote write from a tenant.
    pub async fn families(&self, tenant: &TenantId, family: Option<&str>) -> Told<BTreeSet<Family>> {
        let question =
            TargetQuestion::Families { tenant: tenant.as_str().to_owned(), family: family.map(str::to_owned) };
        let told = self.ask_all(&question).await;
        let families = told.of_all.into_iter().filter_map(|answer| match answer {
            TargetAnswer::Families(families) => Some(families),
            _ => None,
        });
        Told { of_all: families.flatten().collect(), warnings: told.warnings }
    }

    /// Asks every node of the cluster. One that does not answer is named in a warning: its targets are soon another's.
    async fn ask_all(&self, question: &TargetQuestion) -> Told<Vec<TargetAnswer>> {
        let topology = Arc::clone(&self.whereabouts.topology.borrow());
        let others = topology.present().map(|member| member.spec.id).filter(|node| *node != self.id());
        let asked = others.map(|node| async move { (node, self.ask_for_targets(node, question).await) });
        let mut told = Told { of_all: vec![self.office.targets(question.clone())], warnings: Vec::new() };
        for (node, answer) in join_all(asked).await {
            match answer {
                Ok(TargetAnswer::Failed(reason)) | Err(reason) => {
                    warn!(node = %worker_of(node), reason, "a node does not tell of its targets");
                    told.warnings.push(format!("node {} did not tell of its targets: {reason}", worker_of(node)));
                }
                Ok(answer) => told.of_all.push(answer),
            }
        }
        told
    }

    async fn ask_for_targets(&self, node: NodeId, question: &TargetQuestion) -> Result<TargetAnswer, String> {
        if !self.whereabouts.hearing.hears(node) {
            return Err("nothing is heard of it".to_owned());
        }
        let answer = others::download(&**self.whereabouts.peers(), node, method::TARGETS, question).await;
        answer.map_err(|error| error.to_string())
    }
}
