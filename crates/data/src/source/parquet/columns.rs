//! Which columns hold the pictures and what they show.

use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::file::metadata::FileMetaData;
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor, SchemaDescriptor};
use serde_json::Value;

use crate::ErrorKind;
use crate::shard::{MAX_CLASS_NAME, MAX_CLASSES};

/// What a column of pictures is called; the first of them that there is.
const IMAGE: [&str; 8] = ["image", "img", "jpg", "jpeg", "png", "picture", "photo", "image_bytes"];
/// What a column of labels is called; the first of them that there is.
const LABEL: [&str; 8] =
    ["label", "labels", "fine_label", "target", "class", "category", "class_label", "label_name"];
/// Where the library `datasets` writes what the columns are.
const FEATURES: &str = "huggingface";
/// Names of columns in a message.
const SHOWN: usize = 20;

/// The columns of a file that are read.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    /// Numbers of the leaf columns.
    pub(super) image: usize,
    pub(super) label: usize,
    /// As people know them.
    pub(super) image_name: String,
    pub(super) label_name: String,
    /// Whether labels are names.
    pub(super) named: bool,
    /// The names of the classes, where the file says them.
    pub(super) class_names: Option<Vec<String>>,
}

impl Columns {
    /// # Errors
    ///
    /// When there is no column of pictures or of labels, or several that could be it.
    pub(super) fn of(file: &FileMetaData) -> Result<Self, ErrorKind> {
        let schema = file.schema_descr();
        let features = features(file);
        let image = image_column(schema)?;
        let label = label_column(schema, features.as_ref())?;
        let label_name = name(schema.column(label).as_ref()).to_owned();
        let class_names = features.as_ref().and_then(|all| declared_names(all, &label_name));
        let class_names = class_names.map(|names| checked(names, &label_name)).transpose()?;
        Ok(Self {
            image,
            label,
            image_name: name(schema.column(image).as_ref()).to_owned(),
            named: schema.column(label).physical_type() == Type::BYTE_ARRAY,
            label_name,
            class_names,
        })
    }
}

/// The name of the outermost column.
fn name(column: &ColumnDescriptor) -> &str {
    column.path().parts().first().map_or("", String::as_str)
}

fn leaves(schema: &SchemaDescriptor) -> impl Iterator<Item = (usize, &ColumnDescPtr)> {
    schema.columns().iter().enumerate()
}

fn image_column(schema: &SchemaDescriptor) -> Result<usize, ErrorKind> {
    let binary =
        |column: &ColumnDescriptor| column.physical_type() == Type::BYTE_ARRAY && column.max_rep_level() == 0;
    let is = |column: &ColumnDescriptor, outer: &str, inner: &str| matches!(column.path().parts(), [a, b] if a == outer && b == inner);
    let structs: Vec<(usize, &str)> = leaves(schema)
        .filter(|(_, column)| binary(column) && is(column, name(column), "bytes"))
        .filter(|(_, column)| leaves(schema).any(|(_, other)| is(other, name(column), "path")))
        .map(|(number, column)| (number, name(column)))
        .collect();
    let plain: Vec<(usize, &str)> = leaves(schema)
        .filter(|(_, column)| binary(column) && column.path().parts().len() == 1)
        .map(|(number, column)| (number, name(column)))
        .collect();
    let by_name = |columns: &[(usize, &str)]| {
        let find = |wanted: &&str| columns.iter().find(|(_, name)| name.eq_ignore_ascii_case(wanted));
        IMAGE.iter().find_map(find).map(|(number, _)| *number)
    };
    match &structs[..] {
        [(only, _)] => return Ok(*only),
        [] => {}
        several => {
            return by_name(several).ok_or_else(|| {
                let names: Vec<_> = several.iter().map(|(_, name)| *name).collect();
                let message =
                    format!("the columns {} all hold pictures; call the one to use image", names.join(", "));
                ErrorKind::NotADataSet(message)
            });
        }
    }
    let Some(found) = by_name(&plain) else {
        let message = format!(
            "there is no column of pictures in it (a struct of bytes and path, or bytes called image); its columns: {}",
            column_names(schema)
        );
        return Err(ErrorKind::NotADataSet(message));
    };
    if is_text(schema.column(found).as_ref()) {
        let message = format!(
            "the column {} holds text, not pictures; make a .csv list of paths and labels",
            name(schema.column(found).as_ref())
        );
        return Err(ErrorKind::NotADataSet(message));
    }
    Ok(found)
}

fn is_text(column: &ColumnDescriptor) -> bool {
    matches!(column.logical_type_ref(), Some(LogicalType::String))
        || column.converted_type() == ConvertedType::UTF8
}

fn label_column(schema: &SchemaDescriptor, features: Option<&Value>) -> Result<usize, ErrorKind> {
    let fits = |column: &ColumnDescriptor| {
        let number = matches!(column.physical_type(), Type::INT32 | Type::INT64);
        column.path().parts().len() == 1
            && column.max_rep_level() == 0
            && (number || (column.physical_type() == Type::BYTE_ARRAY && is_text(column)))
    };
    let find = |wanted: &&str| {
        leaves(schema).find(|(_, column)| fits(column) && name(column).eq_ignore_ascii_case(wanted))
    };
    let declared = || {
        let all = features?;
        let mut classes =
            leaves(schema).filter(|(_, column)| fits(column) && declared_names(all, name(column)).is_some());
        classes.next().filter(|_| classes.next().is_none())
    };
    let found = LABEL.iter().find_map(find).or_else(declared);
    found.map(|(number, _)| number).ok_or_else(|| {
        let message = format!(
            "there is no column of labels in it (whole numbers or text, called {}); its columns: {}",
            LABEL[..5].join(", "),
            column_names(schema)
        );
        ErrorKind::NotADataSet(message)
    })
}

/// The outermost columns with what they hold.
fn column_names(schema: &SchemaDescriptor) -> String {
    let fields = schema.root_schema().get_fields();
    let mut names: Vec<String> = fields
        .iter()
        .take(SHOWN)
        .map(|field| match field.is_primitive() {
            true => format!("{} ({})", field.name(), field.get_physical_type()),
            false => format!("{} (a struct or list)", field.name()),
        })
        .collect();
    if fields.len() > SHOWN {
        names.push("…".into());
    }
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// What the library `datasets` wrote about the columns.
fn features(file: &FileMetaData) -> Option<Value> {
    let entry = file.key_value_metadata()?.iter().find(|entry| entry.key == FEATURES)?;
    let mut value: Value = serde_json::from_str(entry.value.as_deref()?).ok()?;
    Some(value.get_mut("info")?.get_mut("features")?.take())
}

/// The names of the classes in column `column`.
fn declared_names<'a>(features: &'a Value, column: &str) -> Option<&'a Vec<Value>> {
    let feature = features.get(column)?;
    (feature.get("_type")?.as_str()? == "ClassLabel").then(|| feature.get("names")?.as_array())?
}

fn checked(names: &[Value], column: &str) -> Result<Vec<String>, ErrorKind> {
    let wrong = |what: &str| ErrorKind::Classes(format!("the class names of the column {column} {what}"));
    if names.is_empty() || names.len() > MAX_CLASSES as usize {
        return Err(wrong("must be one to a million"));
    }
    let mut seen = std::collections::HashSet::new();
    for name in names {
        let name = name.as_str().ok_or_else(|| wrong("are no texts"))?;
        if name.len() > MAX_CLASS_NAME {
            return Err(wrong("have more than 1,024 bytes"));
        }
        if !seen.insert(name) {
            return Err(wrong(&format!("have {name:?} twice")));
        }
    }
    Ok(names.iter().filter_map(Value::as_str).map(Into::into).collect())
}
