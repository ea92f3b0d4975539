package policy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// withGroups returns a policy that names node groups in a namespace.
func withGroups(name, namespace string, groups ...v1alpha1.NodeGroup) client.Object {
	o := v1alpha1.Default()
	o.Name, o.Spec.ClusterAutoscaler = name, &v1alpha1.ClusterAutoscaler{Namespace: namespace, NodeGroups: groups}
	return o
}

func TestTheFirstPolicyOfANamespaceRanksItsNodeGroups(t *testing.T) {
	a, b := v1alpha1.NodeGroup{Pattern: "a", Location: "A", PowerFactor: "0.5"}, v1alpha1.NodeGroup{Pattern: "b"}
	policies := policiesOf(t, v1alpha1.Default(), withGroups("z", "", a, b), withGroups("y", "kube-system", b, a), withGroups("x", "other", a, b))
	got, err := policies.NodeGroups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first, second := NodeGroup{Pattern: "a", Location: "A", Power: 0.5}, NodeGroup{Pattern: "b", Power: 1}
	if diff := cmp.Diff([]NodeGroups{
		{Policy: "x", Namespace: "other", Groups: []NodeGroup{first, second}},
		{Policy: "y", Namespace: "kube-system", Groups: []NodeGroup{second, first}},
	}, got); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string]string{
		"default": "", "x": "", "y": "", "z": `spec.clusterAutoscaler.namespace: "kube-system": CarbonPolicy y names this namespace, too, and comes first by name`,
	} {
		p, err := policies.Get(t.Context(), name)
		if err != nil || strings.Join(p.Problems, "") != want {
			t.Errorf("%s: %v, problems %q, want %q", name, err, p.Problems, want)
		}
	}
}

func TestNodeGroupsThatCannotBeReadAreToldOf(t *testing.T) {
	hostile := strings.Repeat("(", 5000)
	policies := policiesOf(t, withGroups("bad", "", v1alpha1.NodeGroup{Pattern: "[", PowerFactor: "NaN"}, v1alpha1.NodeGroup{Pattern: hostile, PowerFactor: "0"}))
	p, err := policies.Get(t.Context(), "bad")
	if err != nil || len(p.Problems) != 4 {
		t.Fatalf("%v, problems %q", err, p.Problems)
	}
	for i, want := range []string{"nodeGroups[0].powerFactor: \"NaN\"", "nodeGroups[0].pattern: \"[\"", "nodeGroups[1].powerFactor: \"0\"", "nodeGroups[1].pattern"} {
		if !strings.HasPrefix(p.Problems[i], "spec.clusterAutoscaler."+want) {
			t.Errorf("problem %q, want %q", p.Problems[i], want)
		}
	}
	groups, err := policies.NodeGroups(t.Context())
	if err != nil || len(groups) != 1 || groups[0].Mistake == nil {
		t.Errorf("%v, groups %v", err, groups)
	}
}
