//! Recipes as they are written, set and refused.

use super::*;

#[test]
fn a_recipe_survives_the_round_trip_through_toml() {
    let recipe = Recipe {
        schedule: ScheduleRecipe::Step { every_epochs: 3.0, gamma: 0.5, warmup_epochs: 0.0 },
        stop: StopRecipe { accuracy: Some(0.93), ..StopRecipe::default() },
        ..Recipe::default()
    };
    let again = Recipe::parse(&recipe.to_toml().unwrap()).unwrap();
    assert_eq!(again, recipe);
    assert_eq!(again.fingerprint().unwrap(), recipe.fingerprint().unwrap());
}

#[test]
fn what_is_no_file_or_too_long_for_a_recipe_is_not_read() {
    let place = tempfile::tempdir().unwrap();
    let long = place.path().join("long.toml");
    std::fs::write(&long, vec![b'#'; 1 << 20]).unwrap();
    assert_eq!(Recipe::load(&long).unwrap(), Recipe::default());
    std::fs::write(&long, vec![b'#'; (1 << 20) + 1]).unwrap();
    for (path, says) in [(place.path(), "not a file"), (&long, "too many")] {
        let error = Recipe::load(path).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn a_difference_names_each_setting_with_both_values() {
    let here = Recipe::default();
    assert_eq!(here.difference(&here).unwrap(), "");
    let there = here.set("optim.lr", "0.5").unwrap().set("ema", "0.9").unwrap();
    let difference = here.difference(&there).unwrap();
    assert_eq!(difference, "  ema: 0.9 there, not set here\n  optim.lr: 0.5 there, 0.05 here");
}

#[test]
fn an_empty_recipe_is_the_default() {
    assert_eq!(Recipe::parse("").unwrap(), Recipe::default());
}

#[test]
fn a_misspelt_key_is_refused_with_the_nearest_name() {
    let error = Recipe::parse("epoch = 3").unwrap_err().to_string();
    assert!(error.contains("unknown field `epoch`"), "{error}");
    assert!(error.ends_with("did you mean `epochs`?"), "{error}");
    let error = Recipe::parse("[optim]\nmomentun = 0.9").unwrap_err().to_string();
    assert!(error.ends_with("did you mean `momentum`?"), "{error}");
    let error = Recipe::parse("[schedule]\nkind = \"cosin\"").unwrap_err().to_string();
    assert!(error.ends_with("did you mean `cosine`?"), "{error}");
}

#[test]
fn set_reaches_every_part_and_names_the_key_it_refuses() {
    let recipe = Recipe::default();
    assert_eq!(recipe.set("optim.lr", "1").unwrap().optim.lr, 1.0);
    assert_eq!(recipe.set("model", "resnet18").unwrap().model, "resnet18");
    assert_eq!(recipe.set("data.size", "64").unwrap().data.size, Some(64));
    assert_eq!(recipe.set("stop.accuracy", "1").unwrap().stop.accuracy, Some(1.0));
    assert_eq!(
        recipe.set("schedule.kind", "constant").unwrap().schedule,
        ScheduleRecipe::Constant { warmup_epochs: 0.5 }
    );
    let error = recipe.set("optim.lrr", "1").unwrap_err().to_string();
    assert!(error.contains("--set optim.lrr=1") && error.contains("`lr`"), "{error}");
    let error = recipe.set("lr", "1").unwrap_err().to_string();
    assert!(error.contains("`optim.lr`"), "{error}");
    let error = recipe.set("epochs.x", "1").unwrap_err().to_string();
    assert!(error.contains("`epochs` is a value"), "{error}");
}

#[test]
fn another_optimizer_brings_its_usual_numbers() {
    let recipe = Recipe::default();
    let adam = recipe.set("optim.kind", "adamw").unwrap();
    assert_eq!((adam.optim.lr, adam.optim.weight_decay), (1e-3, 0.05));
    assert_eq!(Recipe::parse("[optim]\nkind = \"adamw\"").unwrap(), adam);
    let chosen = recipe.set("optim.lr", "0.3").unwrap().set("optim.kind", "lion").unwrap();
    assert_eq!((chosen.optim.lr, chosen.optim.betas), (0.3, [0.9, 0.99]));
    let error = recipe.set("optim.kind", "adamm").unwrap_err().to_string();
    assert!(error.contains("did you mean `adam`"), "{error}");
}

#[test]
fn values_out_of_range_are_refused_by_name() {
    for (key, value) in [
        ("epochs", "0"),
        ("batch", "0"),
        ("optim.lr", "0.0"),
        ("optim.lr", "nan"),
        ("optim.momentum", "1.0"),
        ("optim.betas", "[0.9, 1.0]"),
        ("optim.eps", "0.0"),
        ("ema", "1.0"),
        ("optim.clip_norm", "0.0"),
        ("optim.clip_adaptive", "0.0"),
        ("distill.weight", "0.0"),
        ("distill.temperature", "0.0"),
        ("data.start_size", "3"),
        ("label_smoothing", "1.5"),
        ("data.valid_fraction", "1.0"),
        ("data.size", "3"),
        ("data.channels", "2"),
        ("data.repeats", "0"),
        ("stop.accuracy", "93"),
        ("mix.cutmix", "-1.0"),
        ("schedule.warmup_epochs", "-1.0"),
        ("schedule.warmup_epochs", "1e300"),
        ("schedule.min_lr", "-0.1"),
        ("schedule.min_lr", "1e300"),
    ] {
        let error = Recipe::default().set(key, value).unwrap_err().to_string();
        assert!(error.contains(&format!("`{key}`")), "{key}={value}: {error}");
    }
}

#[test]
fn a_path_is_tidied_and_keeps_its_meaning() {
    for (path, tidy) in [
        ("photos/", "photos"),
        ("./photos", "photos"),
        (".//./a/b//", "a/b"),
        ("/data/photos/", "/data/photos"),
        ("../photos/", "../photos"),
        ("s3://bucket/photos/", "s3://bucket/photos/"),
        ("digits", "digits"),
        ("digits/", "./digits"),
        ("./digits", "./digits"),
        ("./", "."),
        ("/", "/"),
        ("", ""),
    ] {
        assert_eq!(DataRecipe::tidy(path), tidy, "{path}");
        assert_eq!(DataRecipe::tidy(tidy), tidy, "{path}");
    }
}

#[test]
fn two_paths_of_one_place_are_no_difference() {
    let place = tempfile::tempdir().unwrap();
    std::fs::create_dir(place.path().join("digits")).unwrap();
    let path = place.path().to_str().unwrap();
    let at = |path: &str| Recipe::default().set("data.path", path).unwrap();
    let same = |a: &str, b: &str| at(a).difference(&at(b)).unwrap().is_empty();
    assert!(same(path, &format!("{path}/./digits/..")) && same("gone", "gone") && same(".", "./."));
    assert!(!same(path, &format!("{path}/digits")) && !same("gone", "./gone") && !same("digits", "./digits"));
    let weights = |path: &str| Recipe::default().set("start.weights", path).unwrap();
    assert!(weights(path).difference(&weights(&format!("{path}/"))).unwrap().is_empty());
}

#[test]
fn names_that_nobody_has_are_refused_where_they_are_set() {
    let recipe = Recipe::default();
    let error = recipe.set("model", "resnt18").unwrap_err().to_string();
    assert!(error.contains("--set model=resnt18") && error.contains("did you mean `resnet18`"), "{error}");
    let error = recipe.set("augment", "flipp").unwrap_err().to_string();
    assert!(error.contains("`augment` is \"flipp\""), "{error}");
    for steps in ["auto", "none", "", "flip|random_resized_crop(32)"] {
        assert!(recipe.set("augment", steps).is_ok(), "{steps}");
    }
}

#[test]
fn what_is_of_the_wrong_kind_is_told_in_words_of_recipes() {
    let recipe = Recipe::default();
    for (key, value, says) in [
        ("optim.lr", "x", "the text \"x\" is given where a number is wanted"),
        ("epochs", "1.5", "1.5 is given where a whole number, 0 or more, is wanted"),
        ("seed", "-1", "-1 is given where a whole number, 0 or more, is wanted"),
        ("data.normalize", "1", "1 is given where true or false is wanted"),
        ("optim", "3", "3 is given where a table of settings is wanted"),
        ("schedule", "cosine", "the text \"cosine\" is given where a table with `kind`"),
        ("optim.betas", "[1]", "a list of 1 is given where a list of 2 is wanted"),
        ("start.freeze", "3", "3 is given where a list is wanted"),
        ("batch.size", "3", "a table is given where a whole number"),
        ("batch", "auto", "--batch auto"),
    ] {
        let error = recipe.set(key, value).unwrap_err().to_string();
        assert!(error.starts_with(&format!("--set {key}={value}: ")) && error.contains(says), "{error}");
    }
    let error = Recipe::parse("epochs = 1\n[optim]\nlr = \"x\"").unwrap_err().to_string();
    assert!(error.contains("line 3") && error.ends_with("where a number is wanted"), "{error}");
}

#[test]
fn numbers_may_begin_or_end_with_their_point() {
    let recipe = Recipe::default();
    assert_eq!(recipe.set("optim.lr", ".1").unwrap().optim.lr, 0.1);
    assert_eq!(recipe.set("optim.lr", "1.").unwrap().optim.lr, 1.0);
    assert_eq!(recipe.set("ema", ".9").unwrap().ema, Some(0.9));
    assert_eq!(recipe.set("data.path", ".1").unwrap().data.path, ".1");
}

#[test]
fn only_a_near_name_is_suggested() {
    let recipe = Recipe::default();
    for (key, value) in
        [("foo", "1"), ("optim.rate", "1"), ("loss", "foo"), ("amp", "foo"), ("schedule.every_epochs", "3")]
    {
        let error = recipe.set(key, value).unwrap_err().to_string();
        assert!(error.contains("expected") && !error.contains("did you mean"), "{error}");
    }
    for (key, value, name) in [
        ("epoch", "1", "epochs"),
        ("optim.epochs", "1", "epochs"),
        ("optim.weightdecay", "1", "weight_decay"),
        ("label_smooth", "0.1", "label_smoothing"),
        ("loss", "cross-entropy", "cross_entropy"),
        ("optim.kind", "AdamW", "adamw"),
        ("loss", "ce", "cross_entropy"),
        ("schedule.kind", "CosineAnnealingLR", "cosine"),
        ("amp", "true", "bf16"),
    ] {
        let error = recipe.set(key, value).unwrap_err().to_string();
        assert!(error.ends_with(&format!("did you mean `{name}`?")), "{error}");
    }
}

#[test]
fn a_huge_line_is_not_repeated() {
    let huge = "x".repeat(100_000);
    for text in [
        format!("epochs = \"{huge}\""),
        format!("epochs = 1\n{huge} = 1"),
        format!("epochs = [{huge}"),
        format!("augment = \"{huge}\""),
        format!("loss = \"{huge}\""),
    ] {
        let error = Recipe::parse(&text).unwrap_err().to_string();
        assert!(error.len() < 2000, "{} bytes: {}", error.len(), &error[..2000]);
        let error = Recipe::default().set("epochs", &huge).unwrap_err().to_string();
        assert!(error.len() < 2000, "{} bytes", error.len());
    }
    let error = Recipe::parse(&format!("epochs = 1\nseed = \"{huge}\"")).unwrap_err().to_string();
    assert!(error.starts_with("line 2: the text"), "{error}");
}

#[test]
fn the_names_that_others_have_for_a_setting_are_known() {
    for (theirs, key) in [
        ("learning_rate", "optim.lr"),
        ("lr", "optim.lr"),
        ("LR", "optim.lr"),
        ("optimizer", "optim.kind"),
        ("opt", "optim.kind"),
        ("optimizer.kind", "optim.kind"),
        ("sched", "schedule.kind"),
        ("scheduler", "schedule.kind"),
        ("scheduler.kind", "schedule.kind"),
        ("smoothing", "label_smoothing"),
        ("grad_accum", "accumulate"),
        ("accumulate_grad_batches", "accumulate"),
        ("accum_iter", "accumulate"),
        ("model_ema", "ema"),
        ("ema_decay", "ema"),
        ("clip_grad", "optim.clip_norm"),
        ("gradient_clip_val", "optim.clip_norm"),
        ("aa", "augment"),
        ("drop_rate", "dropout"),
        ("weight_decay", "optim.weight_decay"),
        ("weight-decay", "optim.weight_decay"),
        ("wd", "optim.weight_decay"),
        ("warmup", "schedule.warmup_epochs"),
        ("warmup_epochs", "schedule.warmup_epochs"),
        ("max_epochs", "epochs"),
        ("batch_size", "batch"),
        ("img_size", "data.size"),
        ("num_workers", "--threads"),
    ] {
        let error = Recipe::default().set(theirs, "1").unwrap_err().to_string();
        assert!(error.ends_with(&format!("`{key}`?")), "{error}");
    }
    for (text, key) in [
        ("learning_rate = 0.1", "optim.lr"),
        ("drop_rate = 0.1", "dropout"),
        ("weight_decay = 0.1", "optim.weight_decay"),
        ("[optim]\nlearning_rate = 0.1", "lr"),
        ("[optim]\nLR = 0.1", "lr"),
        ("num_workers = 4", "--threads"),
    ] {
        let error = Recipe::parse(text).unwrap_err().to_string();
        assert!(error.ends_with(&format!("`{key}`?")), "{error}");
    }
    let error = Recipe::parse("[schedule]\nwarmup_epochs = 1.0").unwrap_err().to_string();
    assert!(error.ends_with("`schedule.kind` is missing; give it as well"), "{error}");
    let error = Recipe::parse("amp = true").unwrap_err().to_string();
    assert!(error.ends_with("a name in quotes is wanted"), "{error}");
}

#[test]
fn every_name_of_others_leads_to_a_key_that_there_is() {
    for (theirs, key) in keys::OTHERS {
        assert!(key.starts_with("--") || keys::KEYS.contains(&key), "{theirs}: {key}");
        assert!(!keys::KEYS.contains(&theirs), "{theirs}");
    }
}

#[test]
fn settings_that_need_each_other_may_come_in_any_order() {
    let recipe = Recipe::default();
    let (kind, every) = (("schedule.kind", "step"), ("schedule.every_epochs", "3"));
    let wanted = ScheduleRecipe::Step { every_epochs: 3.0, gamma: 0.1, warmup_epochs: 0.5 };
    for settings in [[kind, every], [every, kind]] {
        assert_eq!(recipe.set_all(&settings).unwrap().schedule, wanted);
    }
    // What is set stays also where it is what the former kind brought along.
    let (lr, adamw) = (("optim.lr", "0.05"), ("optim.kind", "adamw"));
    for settings in [[lr, adamw], [adamw, lr]] {
        assert_eq!(recipe.set_all(&settings).unwrap().optim.lr, 0.05);
    }
    let constant = recipe.set_all(&[kind, every]).unwrap().set("schedule.kind", "constant").unwrap();
    assert_eq!(constant.schedule, ScheduleRecipe::Constant { warmup_epochs: 0.5 });
}

#[test]
fn of_several_settings_the_wrong_one_is_named() {
    let good = ("epochs", "3");
    for (key, value, says) in [
        ("optim.lr", "x", "a number is wanted"),
        ("optim.lrr", "1", "`lr`"),
        ("lr", "1", "did you mean `optim.lr`"),
        ("optim.momentum", "2", "`optim.momentum` is 2"),
        ("schedule.kind", "step", "`schedule.every_epochs` is missing"),
        ("epochs.x", "1", "`epochs` is a value"),
    ] {
        for settings in [[good, (key, value)], [(key, value), ("seed", "3")]] {
            let error = recipe_error(&settings);
            assert!(error.starts_with(&format!("--set {key}={value}: ")) && error.contains(says), "{error}");
        }
    }
}

fn recipe_error(settings: &[(&str, &str)]) -> String {
    Recipe::default().set_all(settings).unwrap_err().to_string()
}
