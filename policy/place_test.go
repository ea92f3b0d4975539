package policy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

func TestNodesAreLookedForAgainWhenTheyChange(t *testing.T) {
	c := fake.NewClientBuilder().WithObjects(node("a", "north", "")).Build()
	n := &Nodes{Reader: c}
	has := func() bool { return len(n.nodesWith(t.Context(), map[string]string{"grid": "south"}).nodes) > 0 }
	if has() {
		t.Error("there is none in the south")
	}
	if err := c.Create(t.Context(), node("b", "south", "")); err != nil {
		t.Fatal(err)
	}
	if has() {
		t.Error("it was asked for again, though nothing is known to have changed")
	}
	n.clear()
	if !has() {
		t.Error("there is one now")
	}
	if none := (*Nodes)(nil); none.nodesWith(t.Context(), nil).nodes != nil {
		t.Error("nobody knows of any")
	}
}

func TestASelectorThatNoNodeCanHaveIsAProblem(t *testing.T) {
	object := v1alpha1.Default()
	for _, value := range []string{"north", "so uth", "east"} {
		object.Spec.Locations = append(object.Spec.Locations, v1alpha1.Location{Name: value, NodeSelector: map[string]string{"grid": value}})
	}
	policy := New(t.Context(), object, "gridlatch-system", nil, t0)
	if len(policy.Problems) != 1 || !strings.HasPrefix(policy.Problems[0], `spec.locations[1].nodeSelector[grid]: "so uth": `) {
		t.Error(policy.Problems)
	}
	if _, ok := policy.Preference("so uth"); ok || !policy.ChoosesLocation() {
		t.Error("it is used")
	}
}

// TestANodeIsAtTheFirstOfItsLocations has a hydro plant in the south.
func TestANodeIsAtTheFirstOfItsLocations(t *testing.T) {
	hydro := v1alpha1.Location{Name: "hydro", NodeSelector: map[string]string{"grid": "south", "pool": "hydro"}}
	south := v1alpha1.Location{Name: "south", NodeSelector: map[string]string{"grid": "south"}}
	nodes := &Nodes{Reader: fake.NewClientBuilder().WithObjects(node("plant", "south", "hydro"), node("other", "south", "cpu")).Build()}
	for _, tt := range []struct {
		locations []v1alpha1.Location
		at        [][]string
		problem   string
	}{
		{[]v1alpha1.Location{hydro, south}, [][]string{{"plant"}, {"other"}}, ""},
		{
			[]v1alpha1.Location{south, hydro}, [][]string{{"other", "plant"}, nil},
			`spec.locations[1].nodeSelector: location "hydro" has no nodes, because location "south" comes first and takes all nodes with these labels`,
		},
	} {
		object := v1alpha1.Default()
		object.Spec.Locations = tt.locations
		policy := New(t.Context(), object, "gridlatch-system", nodes, t0)
		if got := strings.Join(policy.Problems, "; "); got != tt.problem {
			t.Errorf("%s first: problems %q, want %q", tt.locations[0].Name, got, tt.problem)
		}
		for i, want := range tt.at {
			var got []string
			for _, n := range policy.nodesAt(t.Context(), i).nodes {
				got = append(got, n.Name)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s first, at %s: %s", tt.locations[0].Name, tt.locations[i].Name, diff)
			}
		}
		if moved := policy.HasNodes("hydro"); moved != (tt.problem == "") {
			t.Errorf("%s first: work goes to hydro: %v", tt.locations[0].Name, moved)
		}
	}
}
