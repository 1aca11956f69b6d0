//! Which tenants a node takes samples of: those that it has, and new ones up to a limit.

use std::collections::HashSet;

use parking_lot::RwLock;
use pharos_model::TenantId;

/// The tenants that were let in.
#[derive(Debug)]
pub(super) struct Admission {
    tenants: RwLock<HashSet<TenantId>>,
    tenants_max: usize,
}

impl Admission {
    /// `known` are let in whatever the limit: the node has samples of them.
    pub(super) fn new(known: impl Iterator<Item = TenantId>, tenants_max: usize) -> Self {
        Self { tenants: RwLock::new(known.collect()), tenants_max }
    }

    /// Whether the tenant's samples are taken.
    pub(super) fn admit(&self, tenant: &TenantId) -> bool {
        if self.tenants.read().contains(tenant) {
            return true;
        }
        let mut tenants = self.tenants.write();
        let has_room = tenants.len() < self.tenants_max;
        if has_room {
            tenants.insert(tenant.clone());
        }
        has_room || tenants.contains(tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_tenants_are_let_in_up_to_the_limit_and_known_ones_always() {
        let tenant = |id: &str| TenantId::new(id).unwrap();
        let admission = Admission::new([tenant("a"), tenant("b")].into_iter(), 3);
        let admitted = ["a", "c", "d", "c", "b"].map(|id| admission.admit(&tenant(id)));
        assert_eq!(admitted, [true, true, false, true, true]);
    }
}
