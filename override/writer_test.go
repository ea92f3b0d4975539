package override

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// recorder is a client of one object. It records patches instead of making them.
type recorder struct {
	client.Client
	live    *unstructured.Unstructured
	patches []string
	owners  []string
	errGet  error
	answer  error // to patches
}

func (r *recorder) Get(_ context.Context, _ client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	live := o.(*metav1.PartialObjectMetadata)
	live.UID, live.ResourceVersion, live.ManagedFields = r.live.GetUID(), r.live.GetResourceVersion(), r.live.GetManagedFields()
	return r.errGet
}

func (r *recorder) Patch(_ context.Context, o client.Object, p client.Patch, options ...client.PatchOption) error {
	body, err := p.Data(o)
	if err != nil {
		return err
	}
	if p.Type() != types.MergePatchType {
		return errors.New("want a merge patch")
	}
	var all client.PatchOptions
	all.ApplyOptions(options)
	r.patches, r.owners = append(r.patches, string(body)), append(r.owners, all.FieldManager)
	return r.answer
}

var (
	ponds    = schema.GroupResource{Group: "example.com", Resource: "ponds"}
	conflict = apierrors.NewConflict(ponds, "duck", errors.New("the object has been modified"))
	gone     = apierrors.NewNotFound(ponds, "duck")
	refused  = apierrors.NewForbidden(ponds, "duck", errors.New("a webhook says no"))
)

func TestAChangeIsOneNarrowPatch(t *testing.T) {
	limit := FieldAt("spec", "limits", "nvidia.com/gpu~1")
	tests := []struct {
		name   string
		change func(*Change)
		want   string
	}{
		{"a field", func(c *Change) { c.Set(replicas, "5") }, `{"metadata":{"resourceVersion":"7","uid":"uid-of-duck"},"spec":{"replicas":5}}`},
		{"a field that goes", func(c *Change) { c.Set(replicas, Unset) }, `{"metadata":{"resourceVersion":"7","uid":"uid-of-duck"},"spec":{"replicas":null}}`},
		{"two fields of one parent", func(c *Change) { c.Set(replicas, "5"); c.Set(FieldAt("spec", "weight"), ValueOf("ten")) }, `{"metadata":{"resourceVersion":"7","uid":"uid-of-duck"},"spec":{"replicas":5,"weight":"ten"}}`},
		{"a field below a field, with odd letters in its name", func(c *Change) { c.Set(limit, "1") }, `{"metadata":{"resourceVersion":"7","uid":"uid-of-duck"},"spec":{"limits":{"nvidia.com/gpu~1":1}}}`},
		{"annotations that come and go", func(c *Change) { c.Annotate(note, "40"); c.Annotate(drain, "") }, `{"metadata":{"annotations":{"gridlatch.dev/original":"40","pond.example.com/drain":null},"resourceVersion":"7","uid":"uid-of-duck"}}`},
		{"an annotation that is lent is text", func(c *Change) { c.Set(Annotation(drain), ValueOf("no")) }, `{"metadata":{"annotations":{"pond.example.com/drain":"no"},"resourceVersion":"7","uid":"uid-of-duck"}}`},
		{"what is there already is left out", func(c *Change) {
			c.Set(replicas, "40")
			c.Annotate(drain, "yes")
			c.Annotate("absent", "")
			c.Annotate(note, "x")
		}, `{"metadata":{"annotations":{"gridlatch.dev/original":"x"},"resourceVersion":"7","uid":"uid-of-duck"}}`},
		{"what is taken back is left out", func(c *Change) { c.Set(replicas, "5"); c.Set(replicas, "40"); c.Annotate(note, "x") }, `{"metadata":{"annotations":{"gridlatch.dev/original":"x"},"resourceVersion":"7","uid":"uid-of-duck"}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := pond("duck", 40, map[string]string{drain: "yes"})
			o.SetResourceVersion("7")
			object := Read(o, replicas)
			c := object.Change()
			tt.change(c)
			api := &recorder{live: o}
			if outcome, err := (Writer{Client: api, Live: api}).Write(t.Context(), c); err != nil || outcome != Written {
				t.Fatal(outcome, err)
			}
			if diff := cmp.Diff([]string{tt.want}, api.patches); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{Manager}, api.owners); diff != "" {
				t.Error("field manager: ", diff)
			}
		})
	}
}

func TestAChangeKnowsWhatItChanges(t *testing.T) {
	object := Read(pond("duck", 40, nil), replicas)
	c := object.Change()
	if !c.IsEmpty() || c.Sets(replicas) {
		t.Error("a new change changes something")
	}
	c.Annotate(note, "40")
	if c.IsEmpty() || c.Sets(replicas) {
		t.Error("a note is no change, or changes the field")
	}
	c.Set(replicas, "5")
	if !c.Sets(replicas) {
		t.Error("the field is not changed")
	}
}

func TestWhatHasChangedMeanwhileIsNotOverwritten(t *testing.T) {
	tests := []struct {
		name    string
		before  func(*testing.T, client.Client) // our write
		outcome Outcome
		want    Value
	}{
		{"nothing has changed", func(*testing.T, client.Client) {}, Written, "5"},
		{"the owner has changed the field", func(t *testing.T, api client.Client) {
			patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":60}}`))
			if err := api.Patch(t.Context(), get(t, api, "duck"), patch); err != nil {
				t.Fatal(err)
			}
		}, Outdated, "60"},
		{"the object has gone", func(t *testing.T, api client.Client) {
			if err := api.Delete(t.Context(), get(t, api, "duck")); err != nil {
				t.Fatal(err)
			}
		}, Gone, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			api := server(t, interceptor.Funcs{}, pond("duck", 40, nil))
			object := Read(get(t, api, "duck"), replicas)
			tt.before(t, api)
			c := object.Change()
			c.Set(replicas, "5")
			outcome, err := (Writer{Client: api, Live: api}).Write(t.Context(), c)
			if err != nil || outcome != tt.outcome {
				t.Errorf("got %q, %v, want %q", outcome, err, tt.outcome)
			}
			if tt.want != "" {
				if got := read(get(t, api, "duck").Object, replicas); got != tt.want {
					t.Errorf("%s replicas, want %s", got, tt.want)
				}
			}
		})
	}
}

func TestARefusalNamesTheObject(t *testing.T) {
	o := managedBy(pond("duck", 40, nil), entry(Manager, 10, ownsReplicas))
	object := Read(o, replicas)
	c := object.Change()
	c.Set(replicas, "5")
	api := &recorder{live: o, answer: refused}
	w := Writer{Client: api, Live: api}
	for what, err := range map[string]error{
		"write":  func() error { _, err := w.Write(t.Context(), c); return err }(),
		"disown": w.Disown(t.Context(), &object, nil, false),
	} {
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "Pond park/duck") {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

func TestDisownWaitsForAnotherLookAtAnObjectThatChanges(t *testing.T) {
	tests := []struct {
		name    string
		live    string // resourceVersion
		errGet  error
		answer  error
		patches int
		wantErr error
	}{
		{"it is as it was read", "7", nil, nil, 1, nil},
		{"it has changed since it was read", "8", nil, nil, 0, nil},
		{"it changes just now", "7", nil, conflict, 1, nil},
		{"it has gone", "7", gone, nil, 0, nil},
		{"it goes just now", "7", nil, gone, 1, nil},
		{"it cannot be read", "7", refused, nil, 0, refused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := managedBy(pond("duck", 40, nil), entry(Manager, 10, ownsReplicas))
			o.SetResourceVersion("7")
			object := Read(o, replicas)
			o.SetResourceVersion(tt.live)
			api := &recorder{live: o, errGet: tt.errGet, answer: tt.answer}
			if err := (Writer{Client: api, Live: api}).Disown(t.Context(), &object, nil, false); !errors.Is(err, tt.wantErr) {
				t.Errorf("got %v, want %v", err, tt.wantErr)
			}
			if len(api.patches) != tt.patches {
				t.Errorf("written: %v", api.patches)
			}
		})
	}
}
