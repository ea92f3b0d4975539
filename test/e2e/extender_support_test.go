package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

const (
	region        = "topology.kubernetes.io/region"
	nodesOfRegion = 10
)

// regions are grid locations, and the labels of the nodes that are there.
func regions() []string { return []string{"west", "north", "east"} }

func newExtender(t *testing.T) *env.Extender {
	t.Helper()
	x, err := env.NewExtender(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// regionCluster is a cluster of ten nodes in each of three regions, whose
// scheduler is to ask Gridlatch.
func regionCluster(t *testing.T, x *env.Extender) *env.Cluster {
	t.Helper()
	t.Parallel()
	c := env.Start(t, env.Nodes(3*nodesOfRegion), env.NodeLabels(region+"="+strings.Join(regions(), ":")), env.SchedulerConfig(x.Config))
	if err := v1alpha1.AddToScheme(c.Client.Scheme()); err != nil {
		t.Fatal(err)
	}
	if err := c.GiveCA(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	return c
}

// regionPolicy is a policy for the three regions, with buckets if there are some.
func regionPolicy(t *testing.T, c *env.Cluster, name string, buckets ...v1alpha1.Bucket) {
	t.Helper()
	p := v1alpha1.Default()
	p.Name, p.Spec.Buckets, p.Spec.Locations = name, buckets, nil
	for _, r := range regions() {
		p.Spec.Locations = append(p.Spec.Locations, v1alpha1.Location{Name: r, NodeSelector: map[string]string{region: r}})
	}
	create(t, c, p)
}

// hourly writes a forecast that has begun a minute ago, of one intensity for each
// hour and region. The last goes on for half a day: where a forecast ends earlier
// than the one before, that one goes on.
func hourly(t *testing.T, c *env.Cluster, west, north, east []float64) {
	t.Helper()
	start := time.Now().Add(-time.Minute)
	var elements []env.Element
	for i, values := range [][]float64{west, north, east} {
		last := len(values) - 1
		elements = append(elements, env.Elements(regions()[i], start, time.Hour, values[:last]...)...)
		elements = append(elements, env.Elements(regions()[i], start.Add(time.Duration(last)*time.Hour), 12*time.Hour, values[last])...)
	}
	if err := c.Forecast(t.Context(), elements...); err != nil {
		t.Fatal(err)
	}
	awaitRegions(t, c, west[0], north[0], east[0])
}

// awaitRegions waits until the policies know these intensities.
func awaitRegions(t *testing.T, c *env.Cluster, want ...float64) {
	t.Helper()
	env.Eventually(t, patience, func(ctx context.Context) error {
		var policies v1alpha1.CarbonPolicyList
		if err := c.Client.List(ctx, &policies); err != nil {
			return err
		}
		for _, p := range policies.Items {
			if len(p.Status.Locations) != len(want) {
				return fmt.Errorf("policy %s: %+v", p.Name, p.Status.Locations)
			}
			for i, l := range p.Status.Locations {
				if l.Intensity == nil || float64(*l.Intensity) != want[i] {
					return fmt.Errorf("policy %s: %+v, want %v", p.Name, l, want)
				}
			}
		}
		return nil
	})
}

// whereTo returns how many pods of a namespace are in which region, once they are
// all on nodes.
func whereTo(t *testing.T, c *env.Cluster, ns string, pods int) map[string]int {
	t.Helper()
	at := map[string]int{}
	for _, p := range awaitScheduled(t, c, ns, pods, 2*patience) {
		var node corev1.Node
		if err := c.Client.Get(t.Context(), client.ObjectKey{Name: p.Spec.NodeName}, &node); err != nil {
			t.Fatal(err)
		}
		at[node.Labels[region]]++
	}
	return at
}

// ofWidth makes pods that each take so many CPUs, of the 64 of a node.
func ofWidth(t *testing.T, c *env.Cluster, ns string, pods int, cpus int64, annotations map[string]string) {
	t.Helper()
	for i := range pods {
		p := pod(ns, fmt.Sprint("pod-", i), annotations)
		p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: *resource.NewQuantity(cpus, resource.DecimalSI)}
		create(t, c, p)
	}
}

func asked(t *testing.T, g *env.Controller) float64 {
	t.Helper()
	n, err := g.Metric(t.Context(), "gridlatch_extender_requests_total")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// nodesIn returns the names of the nodes of a region.
func nodesIn(t *testing.T, c *env.Cluster, of string) []string {
	t.Helper()
	var nodes corev1.NodeList
	if err := c.Client.List(t.Context(), &nodes, client.MatchingLabels{region: of}); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range nodes.Items {
		names = append(names, n.Name)
	}
	return names
}

// setNode gives a node labels or annotations, key after key; without a value, it
// takes one away.
func setNode(t *testing.T, c *env.Cluster, name, what string, keysAndValues ...string) {
	t.Helper()
	set := map[string]any{}
	for i := 0; i < len(keysAndValues); i += 2 {
		set[keysAndValues[i]] = keysAndValues[i+1]
		if keysAndValues[i+1] == "" {
			set[keysAndValues[i]] = nil
		}
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{what: set}})
	if err != nil {
		t.Fatal(err)
	}
	n := &corev1.Node{}
	n.Name = name
	if err := c.Client.Patch(context.WithoutCancel(t.Context()), n, client.RawPatch(types.MergePatchType, patch)); err != nil {
		t.Fatal(err)
	}
}

// configure changes the scheduler's configuration.
func configure(t *testing.T, x *env.Extender, change func(string) string) {
	t.Helper()
	config, err := os.ReadFile(x.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(x.Config, []byte(change(string(config))), 0o600); err != nil {
		t.Fatal(err)
	}
}
