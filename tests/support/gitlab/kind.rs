//! What the record calls the requests.

/// `GET /projects/:id`
pub const PROJECT: &str = "project";
/// `GET …/repository/tags`
pub const LIST: &str = "list";
/// `GET …/repository/tags/:tag_name`
pub const GET: &str = "get";
/// `POST …/repository/tags`
pub const CREATE: &str = "create";
/// `DELETE …/repository/tags/:tag_name`
pub const DELETE: &str = "delete";
/// `GET …/repository/commits/:sha`
pub const COMMIT: &str = "commit";
/// `GET …/repository/tags/:tag_name/signature`
pub const SIGNATURE: &str = "signature";
/// `GET …/protected_tags`
pub const PROTECTED: &str = "protected";
/// `GET /personal_access_tokens/self`
pub const TOKEN: &str = "token";
/// Anything else.
pub const OTHER: &str = "other";
