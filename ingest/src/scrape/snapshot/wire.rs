//! How serde carries the model's types here.

/// Labels as a map from name to value. What comes from a peer is checked.
pub(super) mod labels {
    use std::collections::BTreeMap;

    use pharos_model::LabelSet;
    use pharos_model::labels::LABEL_BYTES_MAX;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(labels: &LabelSet, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(labels.iter().map(|label| (label.name, label.value)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LabelSet, D::Error> {
        let labels = BTreeMap::<String, String>::deserialize(deserializer)?;
        if labels.iter().any(|(name, value)| name.len().max(value.len()) > LABEL_BYTES_MAX) {
            return Err(D::Error::custom(format!("a label is longer than {LABEL_BYTES_MAX} bytes")));
        }
        Ok(LabelSet::from_pairs(labels))
    }
}

/// Metadata with the type as a word.
pub(super) mod metadata {
    use std::borrow::Cow;

    use pharos_model::{Metadata, MetricType};
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Wire<'a> {
        r#type: Cow<'a, str>,
        help: Cow<'a, str>,
        unit: Cow<'a, str>,
    }

    pub(crate) fn serialize<S: Serializer>(metadata: &Metadata, serializer: S) -> Result<S::Ok, S::Error> {
        let Metadata { metric_type, help, unit } = metadata;
        let wire = Wire { r#type: metric_type.as_str().into(), help: help.as_str().into(), unit: unit.as_str().into() };
        wire.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Metadata, D::Error> {
        let Wire { r#type, help, unit } = Wire::deserialize(deserializer)?;
        let metric_type = MetricType::parse(&r#type)
            .ok_or_else(|| D::Error::custom(format!("`{type}` is no metric type", type = r#type)))?;
        Ok(Metadata { metric_type, help: help.into_owned(), unit: unit.into_owned() })
    }
}
