//! Settings of a recipe, by their keys.

use super::Recipe;
use super::keys::{elsewhere, is_name, reason, short};
use crate::{Error, Result};

impl Recipe {
    /// The recipe with `key` (dotted, as `optim.lr`) set to `value` (TOML; a bare word is a string).
    ///
    /// # Errors
    ///
    /// When no recipe has such a key, or the value does not suit it.
    pub fn set(&self, key: &str, value: &str) -> Result<Self> {
        self.set_all(&[(key, value)])
    }

    /// The recipe with every key set to its value, as [`Recipe::set`] does it. Only with all of them it must be one that can be: `schedule.kind`
    /// may be `step` where `schedule.every_epochs` is set as well, before or after it.
    ///
    /// # Errors
    ///
    /// When no recipe has such a key, or the value does not suit it: the message names the first setting that makes it so.
    pub fn set_all(&self, settings: &[(&str, &str)]) -> Result<Self> {
        self.with(settings).map_err(|wrong| {
            let is_so = |&n: &usize| self.with(&settings[..n]).is_err_and(|earlier| earlier == wrong);
            let first = (1..=settings.len()).find(is_so).unwrap_or(settings.len());
            let Some(&(key, value)) = settings[..first].last() else { return Error::Recipe(wrong) };
            let wrong = match elsewhere(key).filter(|_| wrong.starts_with("unknown field")) {
                Some(hint) => format!("unknown key — {hint}"),
                None => wrong,
            };
            Error::Recipe(format!("--set {}={}: {wrong}", short(key), short(value)))
        })
    }

    /// The same, and without the setting what is wrong.
    fn with(&self, settings: &[(&str, &str)]) -> Result<Self, String> {
        let mut root = toml::Table::try_from(self).map_err(|e| e.to_string())?;
        // What another kind brings along must not take the place of what was set.
        let (kinds, others): (Vec<_>, Vec<_>) =
            settings.iter().partition(|(key, _)| matches!(*key, "schedule.kind" | "optim.kind"));
        for (key, value) in kinds.into_iter().chain(others) {
            self.put(&mut root, key, value)?;
        }
        let recipe: Self = root.try_into().map_err(|e: toml::de::Error| reason(&e))?;
        recipe.check().map_err(|e| e.to_string())?;
        Ok(recipe)
    }

    /// Puts a value into the table of this recipe.
    fn put(&self, root: &mut toml::Table, key: &str, value: &str) -> Result<(), String> {
        if (key, value) == ("batch", Self::AUTO) {
            return Err("the largest batch that fits is found with --batch auto".into());
        }
        let text = || toml::Value::String(value.into());
        let parsed = if is_name(key) { text() } else { value.parse().unwrap_or_else(|_| text()) };
        let (last, parents) = match key.rsplit_once('.') {
            Some((parents, last)) => (last, parents.split('.').collect()),
            None => (key, Vec::new()),
        };
        let mut table = root;
        for parent in parents {
            let entry = table.entry(parent).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            table = entry.as_table_mut().ok_or_else(|| format!("`{parent}` is a value, not a table"))?;
        }
        match key {
            // Another kind of schedule has other keys.
            "schedule.kind" => table.retain(|name, _| name == "warmup_epochs"),
            // What was not chosen is that of the other kind of optimizer.
            "optim.kind" => {
                let (kind, optim) = (self.optim.kind, &self.optim);
                let chosen = [
                    ("lr", optim.lr != kind.lr()),
                    ("weight_decay", optim.weight_decay != kind.weight_decay()),
                    ("betas", optim.betas != kind.betas()),
                ];
                for (name, _) in chosen.into_iter().filter(|(_, chosen)| !chosen) {
                    table.remove(name);
                }
            }
            _ => {}
        }
        // A whole number is a number: `--set optim.lr=1`.
        let parsed = match (table.get(last), parsed) {
            (Some(toml::Value::Float(_)), toml::Value::Integer(whole)) => toml::Value::Float(whole as f64),
            // TOML has no `.1` and no `1.`.
            (None | Some(toml::Value::Float(_) | toml::Value::Integer(_)), toml::Value::String(text))
                if !is_name(key) =>
            {
                text.parse().map_or(toml::Value::String(text), toml::Value::Float)
            }
            // One of a list is a list: `--set start.freeze=layer1`.
            (Some(toml::Value::Array(_)), one @ toml::Value::String(_)) => toml::Value::Array(vec![one]),
            (_, parsed) => parsed,
        };
        table.insert(last.to_owned(), parsed);
        Ok(())
    }
}
