// Package door knows the kinds of batch work that are held whole, each by a field of its own: its
// door.
//
// A Job of Kubernetes is held by gates or by spec.suspend, see package hold. The kinds here belong to
// other software, their engine. Their objects are read without the engine's Go types. [All] is the one
// table of these kinds: the webhook, the loop, the plugin, the manifests, the documentation and the
// tests read it.
package door

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"
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
	// StoredLimit and StoredLocks are the paths in the status where the engine, at its first look, writes
	// the limit and the locks of work that refers to a template. Both are nil without templates.
	StoredLimit, StoredLocks []string
	// WritesChildren says that the engine writes the doors of the objects that it creates for the work,
	// or counts on the start of these objects, so that nobody else may close these doors.
	WritesChildren bool
	// HasServingPods says that pods of the work run and wait for the Jobs that the engine creates for
	// the work. These Jobs are never held, neither themselves nor by the gates of their pods.
	HasServingPods bool
	// Child is the kind of the one object that the engine creates for the work, with the name of the
	// work; empty if there is no such object.
	Child schema.GroupKind
	// PodLabel is the engine's label of the pods of the work. Its value is the name of the work, or what is
	// at the path PodLabelValue.
	PodLabel      string
	PodLabelValue []string
	// CanPause says that the engine stops work whose door is closed after its start, and runs the work
	// again once the door is open. The work may have to begin anew from what it has saved.
	CanPause bool
	// KueueAdmits says that Kueue can admit objects of the kind from a queue.
	KueueAdmits bool
	// ReleaseLabel is the label of the kind's CustomResourceDefinition that has the engine's version, and
	// MinRelease is the first version that has the door. Older versions refuse an object whose door is
	// closed. Both are empty if all versions have the door, or ignore the field.
	ReleaseLabel, MinRelease string
	// Needs are the other paths that Refusal reads.
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

// Paths returns the paths that decide whether an object of the kind is held.
func (d *Door) Paths() [][]string {
	paths := append([][]string{d.Field}, d.Needs...)
	for _, more := range [][]string{d.Manager, d.Limit} {
		if more != nil {
			paths = append(paths, more)
		}
	}
	return paths
}

// CheckTypes returns an error if a field that the door names has another type than the engine wants.
func (d *Door) CheckTypes(content map[string]any) error {
	if value := valueAt(content, d.Field); value != nil && reflect.TypeOf(value) != reflect.TypeOf(d.Closed) {
		return fmt.Errorf("%s: want a %T", FormatPath(d.Field), d.Closed)
	}
	if value := valueAt(content, d.Manager); value != nil && reflect.TypeOf(value).Kind() != reflect.String {
		return fmt.Errorf("%s: want a string", FormatPath(d.Manager))
	}
	if value := valueAt(content, d.Limit); value != nil && reflect.TypeOf(value).Kind() != reflect.Int64 {
		return fmt.Errorf("%s: want a whole number", FormatPath(d.Limit))
	}
	return nil
}

// TimeLimit returns the time after the creation of an object by which its work must end; false if
// nothing in the object limits that time. The shorter limit counts if the object and its template
// have one.
func (d *Door) TimeLimit(content map[string]any) (time.Duration, bool) {
	shortest, isLimited := int64(maxLimit), false
	for _, path := range [][]string{d.Limit, d.StoredLimit} {
		if seconds, ok := valueAt(content, path).(int64); ok {
			shortest, isLimited = max(0, min(seconds, shortest)), true
		}
	}
	return time.Duration(shortest) * time.Second, isLimited
}

// KeepsLocks reports whether an object takes locks by its template, and keeps them while it waits.
func (d *Door) KeepsLocks(content map[string]any) bool { return valueAt(content, d.StoredLocks) != nil }

// maxLimit bounds a time limit in seconds, so that a duration can have the limit.
const maxLimit = 100 * 365 * 24 * 60 * 60

// FormatPath writes a path as users know the path of a field.
func FormatPath(path []string) string { return strings.Join(path, ".") }

// WhyTooOld says why nothing of the kind is held, given the kind's CustomResourceDefinition: the engine
// is too old, or of no known version. It is empty if the version has the door.
func (d *Door) WhyTooOld(definition metav1.Object) string {
	if d.ReleaseLabel == "" {
		return ""
	}
	label := definition.GetLabels()[d.ReleaseLabel]
	installed, err := version.ParseSemantic(label)
	switch {
	case err != nil:
		return fmt.Sprintf("the version of %s is not known: its CustomResourceDefinition has no version in the label %s", d.Engine, d.ReleaseLabel)
	case installed.LessThan(version.MustParseSemantic(d.MinRelease)):
		return fmt.Sprintf("%s before %s refuses a %s that waits, and %s is installed", d.Engine, d.MinRelease, d.Kind.Kind, label)
	default:
		return ""
	}
}

// WhyIgnored says why nothing of the kind is held, given the whole CustomResourceDefinition of the kind:
// the API server drops the door, so that the work would start. It is empty if the definition has the
// door.
func (d *Door) WhyIgnored(definition map[string]any) (why string) {
	if valueAt(definition, []string{"spec", "preserveUnknownFields"}) == true {
		return ""
	}
	eachIn(definition, func(v map[string]any) {
		schema, _ := valueAt(v, []string{"schema", "openAPIV3Schema"}).(map[string]any)
		if v["name"] == d.Kind.Version && schema != nil && !keepsField(schema, d.Field) {
			why = fmt.Sprintf("the installed version of %s does not know the field %s of %ss", d.Engine, FormatPath(d.Field), d.Kind.Kind)
		}
	}, "spec", "versions")
	return why
}

// keepsField reports whether the API server keeps a field of objects with a schema.
func keepsField(schema map[string]any, path []string) bool {
	for _, name := range path {
		next, isKnown := valueAt(schema, []string{"properties", name}).(map[string]any)
		if !isKnown {
			return schema["x-kubernetes-preserve-unknown-fields"] == true
		}
		schema = next
	}
	return true
}

// IsClosed reports whether the field of an object has the value that keeps the work from starting.
func (d *Door) IsClosed(content map[string]any) bool {
	return valueAt(content, d.Field) == d.Closed
}

// PodLabelOf returns the value that PodLabel has on the pods of an object; empty if it is not known yet.
func (d *Door) PodLabelOf(content map[string]any) string {
	path := d.PodLabelValue
	if path == nil {
		path = []string{"metadata", "name"}
	}
	value, _ := valueAt(content, path).(string)
	return value
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

// OfController returns the door of the controller that owns an object; nil if no controller of a kind
// with a door does.
func OfController(o metav1.Object) *Door {
	owner := metav1.GetControllerOfNoCopy(o)
	if owner == nil {
		return nil
	}
	return Of(schema.FromAPIVersionAndKind(owner.APIVersion, owner.Kind).GroupKind())
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
