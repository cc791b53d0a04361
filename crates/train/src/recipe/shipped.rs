//! Recipes that come with the program.

use super::Recipe;
use crate::{Error, Result};

/// A recipe that comes with the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShippedRecipe {
    /// What `--recipe` calls it.
    pub name: &'static str,
    /// TOML; comments at the top say what it is for, how it is run, how long it takes and what comes out.
    pub text: &'static str,
}

const SHIPPED: [ShippedRecipe; 8] = [
    ShippedRecipe { name: "mnist_mlp", text: include_str!("../../recipes/mnist_mlp.toml") },
    ShippedRecipe { name: "fashion_cnn", text: include_str!("../../recipes/fashion_cnn.toml") },
    ShippedRecipe { name: "fashion_resnet", text: include_str!("../../recipes/fashion_resnet.toml") },
    ShippedRecipe { name: "cifar10_resnet20", text: include_str!("../../recipes/cifar10_resnet20.toml") },
    ShippedRecipe { name: "cifar10_resnet18", text: include_str!("../../recipes/cifar10_resnet18.toml") },
    ShippedRecipe { name: "imagenet_resnet50", text: include_str!("../../recipes/imagenet_resnet50.toml") },
    ShippedRecipe { name: "imagenet_vit_s16", text: include_str!("../../recipes/imagenet_vit_s16.toml") },
    ShippedRecipe { name: "finetune", text: include_str!("../../recipes/finetune.toml") },
];

impl ShippedRecipe {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        SHIPPED.into_iter()
    }

    /// The one of this name.
    ///
    /// # Errors
    ///
    /// Names a near one where there is none, or says where they are listed.
    pub fn from_name(name: &str) -> Result<Self> {
        let like = |other: &Self| strsim::jaro_winkler(other.name, name);
        let found = Self::all().find(|recipe| recipe.name == name);
        found.ok_or_else(|| {
            let nearest = Self::all().max_by(|a, b| like(a).total_cmp(&like(b)));
            let nearest = nearest.filter(|recipe| like(recipe) > 0.8);
            let hint = nearest.map_or_else(
                || "; `pyrograph recipes` lists all".into(),
                |recipe| format!(" — did you mean `{}`?", recipe.name),
            );
            Error::Recipe(format!("no recipe is called `{name}`{hint}"))
        })
    }

    /// Its first line: what it is for.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.text.lines().next().unwrap_or_default().trim_start_matches("# ")
    }

    /// The recipe itself.
    ///
    /// # Errors
    ///
    /// Never: a test reads all of them.
    pub fn recipe(self) -> Result<Recipe> {
        Recipe::parse(self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_what_it_is_for_how_it_is_run_and_what_comes_out() {
        for shipped in ShippedRecipe::all() {
            let name = shipped.name;
            let head: Vec<&str> = shipped.text.lines().take_while(|line| line.starts_with('#')).collect();
            assert!(shipped.title().len() > 20, "{name}");
            let command = |line: &&&str| line.starts_with("#   pyrograph train ") && line.contains(name);
            assert!(head.iter().any(|line| command(&line)), "{name}");
            for said in ["# Time:     ", "# Accuracy: "] {
                assert!(head.iter().any(|line| line.starts_with(said)), "{name}: {said}");
            }
            let recipe = shipped.recipe().unwrap();
            assert_ne!(recipe.data.path, crate::DataRecipe::DIGITS, "{name}");
            assert_eq!(Recipe::parse(&recipe.to_toml().unwrap()).unwrap(), recipe, "{name}");
        }
    }

    #[test]
    fn a_misspelt_name_is_answered_with_the_nearest() {
        let error = ShippedRecipe::from_name("cifar_resnet20").unwrap_err().to_string();
        assert!(error.ends_with("did you mean `cifar10_resnet20`?"), "{error}");
        let error = ShippedRecipe::from_name("run.toml").unwrap_err().to_string();
        assert!(!error.contains("did you") && error.contains("`pyrograph recipes` lists all"), "{error}");
    }
}
