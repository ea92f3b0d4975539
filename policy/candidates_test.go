package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

// factors gives nodes power factors.
func factors(nodes []*corev1.Node, of map[string]string) []*corev1.Node {
	for _, n := range nodes {
		if factor, ok := of[n.Name]; ok {
			n.Annotations = map[string]string{v1alpha1.PowerFactorKey: factor}
		}
	}
	return nodes
}

func TestCandidates(t *testing.T) {
	efficient := choosing(t, factors(twoGrids(), map[string]string{"a": "2", "b": "0.8", "c": "0.5"}), "void", "south", "north")
	tests := map[string]struct {
		policy    *Policy
		pin, only string
		want      string
	}{
		"those with nodes, in the policy's order": {choosing(t, twoGrids(), "void", "south", "north"), "", "", "south, north"},
		"the first, if none has nodes":            {choosing(t, nil, "void", "south", "north"), "", "", "void"},
		"the pinned one, nodes or not":            {choosing(t, twoGrids(), "void", "south", "north"), "void", "south", "void"},
		"those that suit":                         {choosing(t, twoGrids(), "void", "south", "north"), "", "north", "north"},
		"those that suit, though they have no nodes any more": {
			choosing(t, twoGrids(), "void", "south", "north"), "", "void", "void",
		},
		"what makes no sense is nothing":             {choosing(t, twoGrids(), "south", "north"), "", "{,nort", "south, north"},
		"a name with a comma is one":                 {choosing(t, []*corev1.Node{node("a", "x", ""), node("b", "y", "")}, "x", "y"), "", "x,y", "x, y"},
		"the least power factor of their nodes":      {efficient, "", "", "south x 0.5, north x 2"},
		"that of the nodes that suit":                {efficient, "", "south=0.8,north", "south x 0.8, north"},
		"that of the pinned one":                     {efficient, "south", "", "south x 0.5"},
		"that of the pinned one's nodes that suit":   {efficient, "south", "south=0.8,north", "south x 0.8"},
		"none, of one that cannot be read":           {efficient, "", "south=0,north=x", "south x 0.5, north x 2"},
		"a name that begins with another":            {choosing(t, []*corev1.Node{node("a", "x", ""), node("b", "xx", "")}, "x", "xx"), "", "xx=3,x=2", "x x 2, xx x 3"},
		"nothing to choose, with one location":       {choosing(t, twoGrids(), "south"), "", "", ""},
		"nothing to choose, with one and a pin":      {choosing(t, twoGrids(), "south"), "south", "north", ""},
		"nothing to choose, for the built-in policy": {builtin(), "", "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, s := range tt.policy.candidates(tt.pin, tt.only) {
				got = append(got, s.Name+plan.FormatPowerFactor(s.PowerFactor))
			}
			if got := strings.Join(got, ", "); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestSuiting(t *testing.T) {
	required := func(key string, operator corev1.NodeSelectorOperator, values ...string) corev1.PodSpec {
		return corev1.PodSpec{Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
				{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: operator, Values: values}}},
			}},
		}}}
	}
	selecting := func(key, value string) corev1.PodSpec {
		return corev1.PodSpec{NodeSelector: map[string]string{key: value}}
	}
	for name, tt := range map[string]struct {
		pod  corev1.PodSpec
		want string
	}{
		"any, of a pod that asks for nothing":                   {corev1.PodSpec{}, ""},
		"any, of one that asks for what is everywhere":          {selecting("pool", "cpu"), ""},
		"where its node selector is met":                        {selecting("pool", "gpu"), "south"},
		"where its node selector points":                        {selecting("grid", "north"), "north"},
		"where its required affinity is met":                    {required("pool", corev1.NodeSelectorOpIn, "gpu", "tpu"), "south"},
		"where its required affinity is not against":            {required("grid", corev1.NodeSelectorOpNotIn, "south"), "north"},
		"where it points, though there are no nodes yet":        {selecting("grid", "void"), "void"},
		"any, of one that asks for what is nowhere yet":         {selecting("pool", "tpu"), ""},
		"any, of one that asks for what cannot be":              {selecting("grid", "nowhere"), ""},
		"any, of one whose affinity the API server will refuse": {required("pool", "Near", "gpu"), ""},
		"any, of one that asks for nothing but by preference":   {corev1.PodSpec{Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := choosing(t, twoGrids(), "void", "south", "north").SuitableLocations(t.Context(), &tt.pod); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestThePowerFactorsOfSuitingNodesAreNoted(t *testing.T) {
	policy := choosing(t, factors(twoGrids(), map[string]string{"b": "0.8", "c": "0.5"}), "south", "north")
	for pool, want := range map[string]string{
		"cpu": "south=0.8,north", // the efficient node is a GPU's
		"gpu": "south=0.5",
		"tpu": "south,north", // there is none yet
		"":    "",
	} {
		pod := corev1.PodSpec{}
		if pool != "" {
			pod.NodeSelector = map[string]string{"pool": pool}
		}
		if got := policy.SuitableLocations(t.Context(), &pod); got != want {
			t.Errorf("%s: %q, want %q", pool, got, want)
		}
	}
	all := choosing(t, factors(twoGrids(), map[string]string{"a": "0.5", "b": "0.5", "c": "0.5"}), "south", "north")
	if got := all.SuitableLocations(t.Context(), &corev1.PodSpec{NodeSelector: map[string]string{"pool": "cpu"}}); got != "" {
		t.Errorf("%q of one that may run anywhere, as any other", got)
	}
}

func TestWrongPowerFactorsAreProblems(t *testing.T) {
	nodes := []*corev1.Node{node("a", "north", ""), node("b", "south", "")}
	nodes[1].Labels[v1alpha1.PowerFactorKey] = "half"
	policy := choosing(t, factors(nodes, map[string]string{"a": "0"}), "north", "south")
	want := []string{
		`annotation gridlatch.dev/power-factor of node a: "0": want a number from 0.001 to 1000`,
		`label gridlatch.dev/power-factor of node b: "half": want a number from 0.001 to 1000`,
	}
	if diff := cmp.Diff(want, policy.Problems); diff != "" {
		t.Error(diff)
	}
	for i := range 9 {
		nodes = append(nodes, node(fmt.Sprint("n", i), "south", ""))
		nodes[2+i].Annotations = map[string]string{v1alpha1.PowerFactorKey: "NaN"}
	}
	if policy := choosing(t, nodes, "north", "south"); len(policy.Problems) != 4 || policy.Problems[3] != "and 8 more like this" {
		t.Error(policy.Problems)
	}
	if got := policy.candidates("", ""); !slices.Equal(got, []plan.Site{{Name: "north", PowerFactor: 1}, {Name: "south", PowerFactor: 1}}) {
		t.Error(got)
	}
}
