//! The listing's pages, and a tag as it is shown.

use serde_json::{Map, Value as Json, json};

use super::super::server::{Reply, Request};
use super::{COMMIT_MESSAGE, CodeArtsWorld, FakeTag};

impl CodeArtsWorld {
    pub(super) fn list(&self, id: u32, request: &Request) -> Result<Reply, Reply> {
        let quirks = &self.quirks;
        let number = |name: &str, default: usize, least: usize, most: usize| {
            let number = request.parameter(name).map_or(Some(default), |text| text.parse().ok());
            number
                .filter(|number| (least..=most).contains(number))
                .ok_or_else(|| self.error(400, "CH.00400001", &format!("The parameter {name} is invalid.")))
        };
        let choice = |name: &str, allowed: &[&str]| match request.parameter(name) {
            Some(chosen) if !allowed.contains(&chosen) => {
                Err(self.error(400, "CH.00400001", &format!("The parameter {name} is invalid.")))
            }
            chosen => Ok(chosen),
        };
        let offset = number("offset", 0, 0, 2_147_483_647)?;
        let limit = number("limit", 20, 1, 100)?;
        let size = quirks.page_cap.map_or(limit, |cap| cap.min(limit));
        let by_name = choice("order_by", &["name", "created", "updated"])? == Some("name") && !quirks.unordered;
        let descending = choice("sort", &["asc", "desc"])? != Some("asc");
        let detail = choice("view", &["detail", "basic", "simple"])? == Some("detail") && !quirks.lists_names_only;

        let search = request.parameter("search").unwrap_or_default();
        let mut rows: Vec<_> = self.repositories[&id].tags.iter().filter(|(name, _)| name.contains(search)).collect();
        if !by_name {
            // No order that means anything to a client, and always the same.
            rows.sort_by_key(|(name, _)| name.chars().rev().collect::<String>());
        }
        if descending {
            rows.reverse();
        }
        let total = quirks.total_lies.unwrap_or(rows.len());
        let start = match () {
            () if quirks.repeats_first_page => 0,
            () if quirks.offset_counts_pages => offset.saturating_mul(size),
            () => offset,
        };
        let mut page: Vec<_> = rows.into_iter().skip(start).take(size).collect();
        if quirks.loses_last_row_at == Some(offset) {
            page.pop();
        }
        let shown: Json = page.into_iter().map(|(name, tag)| self.show_listed(name, tag, detail)).collect();
        let reply = Reply::json(200, &shown);
        Ok(if quirks.no_total { reply } else { reply.header("X-Total", total) })
    }

    fn show_listed(&self, name: &str, tag: &FakeTag, detail: bool) -> Json {
        let mut shown = Map::new();
        shown.insert("name".into(), name.into());
        if detail {
            let (target, message) = self.target_and_message(tag);
            shown.insert("message".into(), message);
            shown.insert("target".into(), target);
            shown.insert("gpgKey".into(), tag.gpg_key.clone().unwrap_or_default());
            shown.insert("can_delete".into(), tag.can_delete.into());
            shown.insert("can_read".into(), Json::Null);
            shown.insert("can_download".into(), Json::Null);
        }
        shown.into()
    }

    pub(super) fn show(&self, name: &str, tag: &FakeTag) -> Json {
        let (target, message) = self.target_and_message(tag);
        let commit = tag.commit_id.as_deref().map(show_commit_of_tag);
        json!({ "name": name, "message": message, "target": target, "commit": commit })
    }

    fn target_and_message(&self, tag: &FakeTag) -> (Json, Json) {
        let commit_id = tag.commit_id.as_ref().filter(|_| self.quirks.lists_commits);
        let borrowed = self.quirks.borrows_messages.then(|| COMMIT_MESSAGE.to_owned());
        (commit_id.unwrap_or(&tag.target).clone().into(), tag.message.clone().or(borrowed).into())
    }
}

/// A commit as it is shown alone, with the status of its last pipeline.
pub(super) fn show_commit(commit_id: &str) -> Json {
    let mut shown = show_commit_of_tag(commit_id);
    shown["status"] = "failed".into();
    shown
}

fn show_commit_of_tag(commit_id: &str) -> Json {
    json!({
        "id": commit_id, "short_id": &commit_id[..8.min(commit_id.len())], "title": "Work", "message": COMMIT_MESSAGE,
        "parent_ids": [], "authored_date": "2026-11-20T10:00:00+08:00",
    })
}
