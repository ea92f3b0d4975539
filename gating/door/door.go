// Package door knows the kinds of batch work that are held whole, each by a field of its own: its
// door.
//
// A Job of Kubernetes is held by gates or by spec.suspend, see package hold. The kinds here belong to
// other software, their engine. Their objects are read without the engine's Go types. [All] is the one
// table of these kinds: the webhook, the loop, the plugin, the manifests, the documentation and the
// tests read it.
package door

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Door is how a kind of batch work is held whole.
type Door struct {
	// Kind is the kind in the version that Gridlatch reads and writes.
	Kind schema.GroupVersionKind
	// Resource is the plural name of the kind in the API.
	Resource string
	// Engine is what users call the software that runs the work, such as Argo Workflows.
	Engine string
	// Component is the folder below manifests/components that gives Gridlatch the rights to the kind.
	Component string
	// Field is the path of the field that keeps the engine from starting the work.
	Field []string
	// Closed is the value of the field while the work is held: true, or a word.
	Closed any
	// Open is the value of the field once the work is released. The field is removed if Open is nil.
	Open any
	// Manager is the path of the field that makes another controller than the engine responsible; nil
	// if the kind has no such field. Managers are the values that name the engine itself.
	Manager  []string
	Managers []string
	// Limit is the path of a number of seconds within which the work must end, and which the engine
	// counts also while the work is held; nil if no clock runs.
	Limit []string
	// WritesChildren says that the engine writes the doors of the objects that it creates for the work,
	// so that nobody else may.
	WritesChildren bool
	// Needs are the other paths that Refusal, Pods and IsOver read.
	Needs [][]string
	// Refusal says why an object of the kind cannot be held; empty if it can. It may be nil.
	Refusal func(content map[string]any) string
	// Pods returns how many pods the work runs at once at first, as far as the object tells.
	Pods func(content map[string]any) int
	// IsOver reports whether the work has ended, by the status of the object.
	IsOver func(content map[string]any) bool
}

// GroupVersionResource returns the resource of the kind.
func (d *Door) GroupVersionResource() schema.GroupVersionResource {
	return d.Kind.GroupVersion().WithResource(d.Resource)
}

// IsClosed reports whether the field of an object has the value that keeps the work from starting.
func (d *Door) IsClosed(content map[string]any) bool {
	value, found, err := unstructured.NestedFieldNoCopy(content, d.Field...)
	return err == nil && found && value == d.Closed
}

// IsSet reports whether somebody has given the field of an object a value other than the one by which the
// work starts.
func (d *Door) IsSet(content map[string]any) bool {
	value, found, err := unstructured.NestedFieldNoCopy(content, d.Field...)
	return err != nil || found && value != nil && value != false && value != ""
}

// ManagedBy returns the name of the controller that is responsible for an object instead of the engine;
// empty if the engine is.
func (d *Door) ManagedBy(content map[string]any) string {
	if d.Manager == nil {
		return ""
	}
	name, _, err := unstructured.NestedString(content, d.Manager...)
	if err != nil || slices.Contains(d.Managers, name) {
		return ""
	}
	return name
}

// Of returns the door of a kind in any version; nil if the kind has none.
func Of(kind schema.GroupKind) *Door {
	all := All()
	for i := range all {
		if all[i].Kind.GroupKind() == kind {
			return &all[i]
		}
	}
	return nil
}
