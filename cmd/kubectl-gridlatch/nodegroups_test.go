package main

import (
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// nodeGroups returns the ConfigMap of a Cluster Autoscaler with annotations: the keys, without the prefix of
// Gridlatch, and values.
func nodeGroups(namespace string, notes map[string]string) client.Object {
	annotations := map[string]string{}
	for key, value := range notes {
		annotations[v1alpha1.Prefix+key] = value
	}
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: v1alpha1.PrioritiesConfigMap, Annotations: annotations}}
}

// allNodeGroups returns the ConfigMaps of Cluster Autoscalers in each state.
func allNodeGroups() []client.Object {
	return []client.Object{
		nodeGroups("kube-system", map[string]string{
			"original-priorities": "null", "applied-priorities": `"100:\n- \"^north-\"\n51:\n- \"^south-\"\n1:\n- \".*\"\n"`, "priorities-by": "CarbonPolicy/default",
			"reason": "the cleanest first: north, south; at 2026-11-21 21:00 UTC, north has 100 gCO2eq/kWh, south has 300 gCO2eq/kWh, expected to change at 2026-11-22 03:30 UTC",
		}),
		nodeGroups("without-forecast", map[string]string{"priorities-by": "CarbonPolicy/other", "reason": "no order: there is no usable forecast"}),
		nodeGroups("without-priorities", map[string]string{
			"original-priorities": "null", "applied-priorities": `"1:\n- \".*\"\n"`, "priorities-by": "CarbonPolicy/other", "reason": "no order: there is no usable forecast",
		}),
		nodeGroups("released", map[string]string{"priorities-released": "2026-11-21T22:00:00Z"}),
		nodeGroups("not-ours", nil),
	}
}

// forgedNodeGroups returns a ConfigMap whose notes a stranger has written.
func forgedNodeGroups(t *testing.T) client.Object {
	t.Helper()
	priorities, err := json.Marshal(hostileText)
	if err != nil {
		t.Fatal(err)
	}
	return nodeGroups("forged", map[string]string{"priorities-by": hostileText, "applied-priorities": string(priorities), "reason": hostileText})
}

func TestStatusPrintsNodeGroups(t *testing.T) {
	connect, _ := fakeCluster(t, allNodeGroups()...)
	for name, args := range map[string][]string{"nodegroups": nil, "nodegroups-json": {"-o", "json"}} {
		code, stdout, stderr := call(t, connect, append([]string{"status"}, args...)...)
		if code != 0 || stderr != "" || strings.Contains(stdout, "not-ours") {
			t.Fatalf("exit code %d, stderr %s, stdout %s", code, stderr, stdout)
		}
		wantGolden(t, "status-"+name, stdout)
	}
}
