// Package chart writes the templates of the Helm chart from the manifests for kustomize, which are the one source.
//
// The manifests are rendered once without components, and once with each component. What differs between two renderings
// depends on the value that switches the component on. So a component needs no code here, unless its switch has a name
// of its own: see switches. The fields that users may set are in fields.go. What Helm alone has is written by hand, in
// charts/gridlatch/templates: the policy, the hook that releases held work, and the notes.
package chart
