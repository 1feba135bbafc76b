//! The versions of the questions that webhooks are asked.

/// A version of a question (`AdmissionReview`, `ConversionReview`) that the server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V1,
    V1Beta1,
}

impl Version {
    /// The first of these that the server knows.
    pub fn first_of<'t>(names: impl IntoIterator<Item = &'t str>) -> Option<Version> {
        names.into_iter().find_map(|name| match name {
            "v1" => Some(Version::V1),
            "v1beta1" => Some(Version::V1Beta1),
            _ => None,
        })
    }

    pub fn other(self) -> Version {
        match self {
            Version::V1 => Version::V1Beta1,
            Version::V1Beta1 => Version::V1,
        }
    }

    /// `group/v1`.
    pub fn of_group(self, group: &str) -> String {
        match self {
            Version::V1 => format!("{group}/v1"),
            Version::V1Beta1 => format!("{group}/v1beta1"),
        }
    }
}
