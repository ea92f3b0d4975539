package override

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// errKept says why a Pond is left as it is.
var errKept = errors.New("it has ducks")

// giveBack undoes what lend does. It leaves a Pond that has nothing to put back, and cannot put
// back a Pond that is named kept.
func giveBack(_ context.Context, o *unstructured.Unstructured) (*Change, bool, error) {
	object := Read(o, replicas)
	original, isLent := object.Annotations[note]
	if o.GetName() == "kept" {
		return nil, false, errKept
	}
	if !isLent && !object.IsWritten() {
		return nil, false, nil
	}
	c := object.Change()
	if isLent {
		c.Set(replicas, Value(original))
	}
	c.Annotate(note, "")
	return c, isLent, nil
}

// park returns the client of an API server with three Ponds that are lent, and one that is not.
func park(t *testing.T, calls interceptor.Funcs) client.Client {
	t.Helper()
	quiet := true
	patch, list, read := calls.Patch, calls.List, calls.Get
	api := server(t, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if quiet || patch == nil {
				return c.Patch(ctx, o, p, opts...)
			}
			return patch(ctx, c, o, p, opts...)
		},
		Get: func(ctx context.Context, c client.WithWatch, k client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if quiet || read == nil {
				return c.Get(ctx, k, o, opts...)
			}
			return read(ctx, c, k, o, opts...)
		},
		List: list,
	}, pond("a", 10, nil), pond("b", 20, nil), pond("c", 30, nil), pond("own", 40, nil))
	for _, name := range []string{"a", "b", "c"} {
		lend(t, Writer{Client: api, Live: api}, get(t, api, name), 5)
	}
	quiet = false
	return api
}

// counts returns the replicas of all Ponds.
func counts(t *testing.T, api client.Client) map[string]Value {
	t.Helper()
	all := map[string]Value{}
	for _, name := range []string{"a", "b", "c", "own"} {
		all[name] = read(get(t, api, name).Object, replicas)
	}
	return all
}

func TestRestorePutsEveryObjectBackAndOwnsNothing(t *testing.T) {
	api := park(t, interceptor.Funcs{})
	n, err := Writer{Client: api, Live: api}.Restore(t.Context(), pondKind, giveBack)
	if err != nil || n != 3 {
		t.Fatalf("restored %d, %v", n, err)
	}
	if diff := cmp.Diff(map[string]Value{"a": "10", "b": "20", "c": "30", "own": "40"}, counts(t, api)); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{"a", "own"} {
		object := Read(get(t, api, name), replicas)
		if object.IsWritten() {
			t.Errorf("Pond %s is still ours", name)
		}
	}
	if n, err := (Writer{Client: api, Live: api}).Restore(t.Context(), pondKind, giveBack); err != nil || n != 0 {
		t.Errorf("restored %d again, %v", n, err)
	}
}

func TestRestoreMindsAMissingRightOnlyWhereSomethingIsLent(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "ponds"}, "x", nil)
	api := park(t, interceptor.Funcs{Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
		return forbidden
	}})
	stayOff := func(ctx context.Context, o *unstructured.Unstructured) (*Change, bool, error) {
		c, isLent, err := giveBack(ctx, o)
		if c == nil {
			object := Read(o, replicas)
			c = object.Change()
		}
		c.Annotate("off", "yes")
		return c, isLent, err
	}
	n, err := Writer{Client: api, Live: api}.Restore(t.Context(), pondKind, stayOff)
	if n != 0 || err == nil || strings.Contains(err.Error(), "own") || !strings.Contains(err.Error(), "park/c") {
		t.Errorf("restored %d, %v", n, err)
	}
}

func TestRestoreReadsAnObjectAgainThatChangesMeanwhile(t *testing.T) {
	touched := false
	api := park(t, interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
		if o.GetName() == "b" && !touched {
			touched = true
			live := &unstructured.Unstructured{}
			live.SetGroupVersionKind(pondKind)
			live.SetNamespace("park")
			live.SetName("b")
			if err := c.Patch(ctx, live, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"depth":4}}`)), client.FieldOwner("owner")); err != nil {
				return err
			}
		}
		return c.Patch(ctx, o, p, opts...)
	}})
	n, err := Writer{Client: api, Live: api}.Restore(t.Context(), pondKind, giveBack)
	if err != nil || n != 3 || !touched {
		t.Fatalf("restored %d, %v", n, err)
	}
	if got := counts(t, api)["b"]; got != "20" {
		t.Errorf("got %s replicas", got)
	}
	if got := read(get(t, api, "b").Object, FieldAt("spec", "depth")); got != "4" {
		t.Errorf("the other change is lost: depth %s", got)
	}
}

func TestRestoreGoesOnPastAnObjectThatCannotBePutBack(t *testing.T) {
	for name, tt := range map[string]struct {
		answer error
		want   []string // of the error, none for no error
		n      int
	}{
		"refused":          {refused, []string{"restore Pond park/b", "a webhook says no"}, 2},
		"deleted just now": {gone, nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			api := park(t, interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
				if o.GetName() == "b" {
					return tt.answer
				}
				return c.Patch(ctx, o, p, opts...)
			}})
			n, err := Writer{Client: api, Live: api}.Restore(t.Context(), pondKind, giveBack)
			if n != tt.n || (err != nil) != (len(tt.want) > 0) {
				t.Errorf("restored %d, %v", n, err)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("got %v, want %q", err, part)
				}
			}
			if got := counts(t, api); got["a"] != "10" || got["c"] != "30" || got["b"] != "5" {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestRestoreNamesWhatTheCallerKeeps(t *testing.T) {
	api := server(t, interceptor.Funcs{}, pond("kept", 1, nil), pond("own", 2, nil))
	n, err := Writer{Client: api, Live: api}.Restore(t.Context(), pondKind, giveBack)
	if n != 0 || !errors.Is(err, errKept) || !strings.Contains(err.Error(), "Pond park/kept") {
		t.Errorf("restored %d, %v", n, err)
	}
}

// TestRestoreReadsPageByPage has an API server that forgets where a list was, once.
func TestRestoreReadsPageByPage(t *testing.T) {
	var asked []string
	hasExpired := false
	api := park(t, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
		var all client.ListOptions
		all.ApplyOptions(opts)
		asked = append(asked, fmt.Sprintf("%d from %q", all.Limit, all.Continue))
		if all.Continue == "a" && !hasExpired {
			hasExpired = true
			return apierrors.NewResourceExpired("too old")
		}
		list := l.(*unstructured.UnstructuredList)
		if err := c.List(ctx, list); err != nil {
			return err
		}
		slices.SortFunc(list.Items, func(a, b unstructured.Unstructured) int { return strings.Compare(a.GetName(), b.GetName()) })
		after := func(o unstructured.Unstructured) bool { return o.GetName() > all.Continue }
		first := slices.IndexFunc(list.Items, after)
		last := list.Items[first].GetName()
		list.Items = list.Items[first : first+1]
		if last != "own" {
			list.SetContinue(last)
		}
		return nil
	}})
	n, err := Writer{Client: api, Live: api}.Restore(t.Context(), pondKind, giveBack)
	if err != nil || n != 3 {
		t.Fatalf("restored %d, %v", n, err)
	}
	want := []string{`500 from ""`, `500 from "a"`, `500 from ""`, `500 from "a"`, `500 from "b"`, `500 from "c"`}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}
}

func TestRestoreNeedsNeitherTheKindNorARightToIt(t *testing.T) {
	for name, tt := range map[string]struct {
		answer  error
		wantErr bool
	}{
		"the kind is not there":             {&meta.NoKindMatchError{GroupKind: pondKind.GroupKind()}, false},
		"the kind went just now":            {gone, false},
		"there is no right to it":           {refused, false},
		"the list has expired at its start": {apierrors.NewResourceExpired("too old"), true},
		"the API server is down":            {apierrors.NewServiceUnavailable("down"), true},
	} {
		t.Run(name, func(t *testing.T) {
			api := server(t, interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
				return tt.answer
			}})
			n, err := Writer{Client: api, Live: api}.Restore(t.Context(), pondKind, giveBack)
			if n != 0 || (err != nil) != tt.wantErr || err != nil && !strings.Contains(err.Error(), "list Ponds") {
				t.Errorf("restored %d, %v", n, err)
			}
		})
	}
}
