package main

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// nodePool returns a NodePool with annotations: the keys, without the prefix of Gridlatch, and values.
func nodePool(name string, notes map[string]string) client.Object {
	annotations := map[string]string{}
	for key, value := range notes {
		annotations[v1alpha1.Prefix+key] = value
	}
	o := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations}}
	o.SetGroupVersionKind(schema.GroupVersionKind{Group: "karpenter.sh", Version: "v1", Kind: "NodePool"})
	return o
}

// nodePools returns NodePools in each state.
func nodePools() []client.Object {
	by := func(more map[string]string) map[string]string {
		notes := map[string]string{"nodepool-by": "CarbonPolicy/default"}
		maps.Copy(notes, more)
		return notes
	}
	return []client.Object{
		nodePool("south", by(map[string]string{
			"limits-bucket": "<=200", "original-limits": `{"cpu":null,"memory":"4Ti"}`, "applied-limits": `{"memory":"1Ti","cpu":1000}`,
			"original-weight": "unset", "applied-weight": "100",
			"reason": "the intensity at PJM is in the bucket <=200 of gridlatch.dev/limits, and it is number 1 of 2 pools, the cleanest first; 180 gCO2eq/kWh at 2026-11-21 21:00 UTC, expected to change at 2026-11-22 03:30 UTC",
		})),
		nodePool("north", by(map[string]string{
			"applied-weight": "1", "original-weight": "50", "reason": "no limits: there is no usable forecast, and it is number 2 of 2 pools, the cleanest first",
		})),
		nodePool("mistaken", by(map[string]string{"reason": "no limits: gridlatch.dev/limits: \"x\": want the same resources in every bucket"})),
		nodePool("late", by(map[string]string{
			"applied-limits": `{"cpu":"0"}`, "limits-bucket": ">350", "reason": "the intensity is in the bucket >350 of gridlatch.dev/limits; 400 gCO2eq/kWh at 2026-11-20 21:00 UTC, expected to change at 2026-11-20 23:00 UTC",
		})),
		nodePool("released", map[string]string{"nodepool-released": "2026-11-21T22:00:00Z"}),
		nodePool("released-long-ago", map[string]string{"nodepool-released": "2026-11-21T20:00:00Z"}),
		nodePool("asks", map[string]string{"limits": "*=cpu:1", "policy": "default"}),
		nodePool("not-ours", nil),
	}
}

// forgedNodePool returns a NodePool whose notes a stranger has written.
func forgedNodePool(t *testing.T) client.Object {
	t.Helper()
	limits, err := json.Marshal(map[string]any{hostileText: hostileText, "cpu": []string{hostileText}, "memory": nil})
	if err != nil {
		t.Fatal(err)
	}
	return nodePool("forged", map[string]string{
		"nodepool-by": hostileText, "limits-bucket": hostileText, "applied-limits": string(limits), "applied-weight": "-7", "reason": hostileText,
	})
}

func TestStatusPrintsNodePools(t *testing.T) {
	connect, _ := fakeCluster(t, nodePools()...)
	for name, args := range map[string][]string{"nodepools": nil, "nodepools-json": {"-o", "json"}, "nodepools-yaml": {"-o", "yaml"}} {
		code, stdout, stderr := call(t, connect, append([]string{"status"}, args...)...)
		if code != 0 || stderr != "" {
			t.Fatalf("exit code %d, stderr %s", code, stderr)
		}
		wantGolden(t, "status-"+name, stdout)
	}
}

// withoutPools is a client that cannot list NodePools.
type withoutPools struct {
	client.Client
	err error
}

func (w withoutPools) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	if list.GetObjectKind().GroupVersionKind().Kind == "NodePoolList" {
		return w.err
	}
	return w.Client.List(ctx, list, options...)
}

func TestStatusIsSilentAboutNodePoolsThatCannotBeRead(t *testing.T) {
	resource := schema.GroupResource{Group: "karpenter.sh", Resource: "nodepools"}
	for name, tt := range map[string]struct {
		err  error
		code int
	}{
		"no Karpenter, by discovery": {&meta.NoKindMatchError{GroupKind: schema.GroupKind{Group: resource.Group, Kind: "NodePool"}}, 0},
		"no Karpenter":               {apierrors.NewNotFound(resource, ""), 0},
		"no rights":                  {apierrors.NewForbidden(resource, "", errors.New("dev may not")), 0},
		"an error":                   {apierrors.NewBadRequest("broken"), 1},
	} {
		t.Run(name, func(t *testing.T) {
			_, c := fakeCluster(t, nodePools()...)
			connect := func(e *env) {
				e.cluster = func(connection) (*rest.Config, string, error) { return &rest.Config{}, "batch", nil }
				e.dial = func(*rest.Config) (client.Client, error) { return withoutPools{c, tt.err}, nil }
			}
			code, stdout, stderr := call(t, connect, "status")
			if code != tt.code || strings.Contains(stdout, "NodePool") || (stderr == "") != (code == 0) {
				t.Errorf("exit code %d, stderr %q, stdout\n%s", code, stderr, stdout)
			}
		})
	}
}
