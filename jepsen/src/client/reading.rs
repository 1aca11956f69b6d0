//! The answer to a query.

use serde_json::Value;

use crate::history::Sample;

/// Stands for a value that no writer ever sends.
const FOREIGN_VALUE: i64 = i64::MIN;

/// A successful answer.
#[derive(Clone, Debug)]
pub struct Reading {
    result: Value,
    /// Warnings: the answer says that it may not be complete.
    flagged: bool,
}

impl Reading {
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let mut answer: Value = serde_json::from_slice(text).map_err(|error| format!("not JSON: {error}"))?;
        if answer["status"] != "success" {
            return Err(format!("no success: {}", String::from_utf8_lossy(text)));
        }
        let flagged = answer["warnings"].as_array().is_some_and(|warnings| !warnings.is_empty());
        Ok(Self { result: answer["data"]["result"].take(), flagged })
    }

    /// A matrix of a workload's samples, and whether it is flagged.
    pub fn into_samples(self) -> Result<(Vec<Sample>, bool), String> {
        let mut samples = Vec::new();
        for series in self.result.as_array().ok_or("no matrix")? {
            let number = series["metric"]["series"].as_str().and_then(|text| text.parse().ok());
            let number = number.ok_or_else(|| format!("a series of somebody else: {}", series["metric"]))?;
            for point in series["values"].as_array().ok_or("no values")? {
                samples.push(sample(number, point).ok_or_else(|| format!("not a sample: {point}"))?);
            }
        }
        Ok((samples, self.flagged))
    }

    /// The one number of a vector, 0 of an empty one.
    pub fn into_count(self) -> Result<(u64, bool), String> {
        let vector = self.result.as_array().ok_or("no vector")?;
        let count = match vector.as_slice() {
            [] => 0,
            [one] => one["value"][1].as_str().and_then(|text| text.parse().ok()).ok_or("no number")?,
            more => return Err(format!("{} results instead of one", more.len())),
        };
        Ok((count, self.flagged))
    }
}

fn sample(series: u32, point: &Value) -> Option<Sample> {
    let ts_ms = (point[0].as_f64()? * 1000.0).round() as i64;
    let value: f64 = point[1].as_str()?.parse().ok()?;
    // All values sent are whole and exact in a double.
    let whole = value.fract() == 0.0 && value.abs() < 9e15;
    Some(Sample { series, ts_ms, value: if whole { value as i64 } else { FOREIGN_VALUE } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_gives_exact_samples() {
        let text = br#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"series":"7"},"values":[[1700000000.123,"4294967297"],[1700000000.124,"0.5"]]}]}}"#;
        let (samples, flagged) = Reading::parse(text).unwrap().into_samples().unwrap();
        let first = Sample { series: 7, ts_ms: 1_700_000_000_123, value: 4_294_967_297 };
        assert_eq!(samples, [first, Sample { series: 7, ts_ms: 1_700_000_000_124, value: FOREIGN_VALUE }]);
        assert!(!flagged);
    }

    #[test]
    fn warnings_flag_an_answer_and_errors_are_none() {
        let text = br#"{"status":"success","warnings":["n2 is away"],"data":{"result":[{"value":[1,"5"]}]}}"#;
        assert_eq!(Reading::parse(text).unwrap().into_count(), Ok((5, true)));
        assert!(Reading::parse(br#"{"status":"error"}"#).is_err());
    }
}
