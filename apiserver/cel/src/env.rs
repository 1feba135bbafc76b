//! What an expression may use: functions, types and variables.
//!
//! Invariant: an environment never changes; one that has more is made of it and shares what it has. [`Env::kubernetes`] has what upstream's
//! `staging/src/k8s.io/apiserver/pkg/cel/environment/base.go` has at 1.36, for new and for stored expressions alike: whatever it names was known to 1.35.

use crate::declared::Declared;
use crate::function::{Function, Library};
use crate::library;
use crate::types::Type;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// An environment. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    base: Arc<Base>,
    variables: Arc<[Variable]>,
    /// Object types by name, for literals of them.
    objects: Arc<[Type]>,
}

#[derive(Clone)]
struct Base {
    functions: HashMap<String, Arc<Function>>,
    types: HashMap<String, Type>,
    /// Whether `cel.bind` is known.
    bindings: bool,
    /// The name of an open object type: what is named so, or begins with it and a dot, is one.
    open_objects: Option<&'static str>,
}

#[derive(Clone)]
pub struct Variable {
    pub name: String,
    pub ty: Type,
    /// How large it can become, and how its JSON is read.
    pub declared: Option<Arc<Declared>>,
}

static KUBERNETES: LazyLock<Env> = LazyLock::new(|| {
    let mut builder = Env::builder();
    for library in library::kubernetes() {
        builder = builder.library(library);
    }
    builder.build()
});

impl Env {
    /// The environment of all expressions of the API, but for libraries that need knowledge of their own (`quantity`, `format`), which whoever has that
    /// knowledge adds.
    pub fn kubernetes() -> Env {
        KUBERNETES.clone()
    }

    /// One with the standard library alone.
    pub fn builder() -> EnvBuilder {
        let base = Base {
            functions: HashMap::new(),
            types: HashMap::new(),
            bindings: false,
            open_objects: None,
        };
        EnvBuilder {
            base: Arc::new(base),
            variables: Vec::new(),
            objects: Vec::new(),
        }
        .library(library::standard::library())
    }

    /// One that has more than this one.
    pub fn extend(&self) -> EnvBuilder {
        EnvBuilder {
            base: Arc::clone(&self.base),
            variables: self.variables.to_vec(),
            objects: self.objects.to_vec(),
        }
    }

    pub(crate) fn bindings(&self) -> bool {
        self.base.bindings
    }

    pub(crate) fn function(&self, name: &str) -> Option<&Arc<Function>> {
        let name = name.strip_prefix('.').unwrap_or(name);
        self.base.functions.get(name)
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&Variable> {
        self.variables.iter().find(|v| v.name == name)
    }

    /// The declared data that a path begins with; where the variable has none, that of the first variable that has.
    pub(crate) fn root(&self, name: &str) -> Option<&Declared> {
        let own = self.variable(name);
        match own {
            Some(variable) => variable.declared.as_deref(),
            None => self.variables.iter().find_map(|v| v.declared.as_deref()),
        }
    }

    /// The type that a name means.
    pub(crate) fn type_named(&self, name: &str) -> Option<Type> {
        if let Some(ty) = self.base.types.get(name) {
            return Some(ty.clone());
        }
        let object = self.objects.iter().find(|ty| ty.name() == name).cloned();
        object.or_else(|| {
            let rest = name.strip_prefix(self.base.open_objects?)?;
            (rest.is_empty() || rest.starts_with('.')).then(|| Type::open_object(name))
        })
    }
}

/// Makes an [`Env`].
pub struct EnvBuilder {
    base: Arc<Base>,
    variables: Vec<Variable>,
    objects: Vec<Type>,
}

impl EnvBuilder {
    /// Adds functions and types; overloads of functions that are there join them.
    #[must_use]
    pub fn library(mut self, library: Library) -> EnvBuilder {
        let base = Arc::make_mut(&mut self.base);
        for function in library.functions {
            match base.functions.get_mut(function.name.as_ref()) {
                Some(known) => {
                    let known = Arc::make_mut(known);
                    known.overloads.extend(function.overloads);
                    known.unguarded |= function.unguarded;
                    if function.whole.is_some() {
                        known.whole = function.whole;
                    }
                }
                None => {
                    let name = function.name.to_string();
                    base.functions.insert(name, Arc::new(function));
                }
            }
        }
        for ty in library.types {
            base.types.insert(ty.name().to_owned(), ty);
        }
        self
    }

    /// `cel.bind(name, value, expression)` is known.
    #[must_use]
    pub fn bindings(mut self) -> EnvBuilder {
        Arc::make_mut(&mut self.base).bindings = true;
        self
    }

    /// Literals may be written of a type of this name, and of types below it (`Object.spec`), with any fields.
    #[must_use]
    pub fn open_objects(mut self, name: &'static str) -> EnvBuilder {
        Arc::make_mut(&mut self.base).open_objects = Some(name);
        self
    }

    /// A variable of a type, of whose size nothing is known. One of the same name is replaced.
    #[must_use]
    pub fn variable(self, name: &str, ty: Type) -> EnvBuilder {
        self.add(name, ty, None)
    }

    /// A variable of declared data. What is hidden from expressions is no variable.
    #[must_use]
    pub fn declared(self, name: &str, declared: &Arc<Declared>) -> EnvBuilder {
        match &declared.ty {
            Some(ty) => {
                let ty = ty.clone();
                self.add(name, ty, Some(declared))
            }
            None => self,
        }
    }

    /// A variable that may have no value: `optional_type` of declared data.
    #[must_use]
    pub fn optional(self, name: &str, declared: &Arc<Declared>) -> EnvBuilder {
        match &declared.ty {
            Some(ty) => {
                let ty = Type::optional(ty.clone());
                self.add(name, ty, Some(declared))
            }
            None => self,
        }
    }

    fn add(mut self, name: &str, ty: Type, declared: Option<&Arc<Declared>>) -> EnvBuilder {
        self.variables.retain(|v| v.name != name);
        self.variables.push(Variable {
            name: name.to_owned(),
            ty,
            declared: declared.cloned(),
        });
        self
    }

    /// An object type of which literals may be written.
    #[must_use]
    pub fn object(mut self, ty: Type) -> EnvBuilder {
        self.objects.push(ty);
        self
    }

    pub fn build(self) -> Env {
        Env {
            base: self.base,
            variables: self.variables.into(),
            objects: self.objects.into(),
        }
    }
}
