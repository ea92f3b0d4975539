package e2e

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

// TestGridlatchWorksInAnyNamespace installs Gridlatch in the namespace carbon, as a kustomization of a user does.
func TestGridlatchWorksInAnyNamespace(t *testing.T) {
	t.Parallel()
	c := env.Start(t, env.Nodes(2))
	c.Home = "carbon"
	if err := v1alpha1.AddToScheme(c.Client.Scheme()); err != nil {
		t.Fatal(err)
	}
	c.Gridlatch(t)
	dirtyThenClean(t, c, 5*time.Minute)
	ns := namespace(t, c)
	create(t, c, pod(ns, "waits", tolerant()))
	held := awaitGated(t, c, ns, 1)[0]
	own := pod(c.Home, "of-gridlatch", tolerant())
	own.Spec.SecurityContext = &corev1.PodSecurityContext{
		RunAsNonRoot: ptr(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	own.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	create(t, c, own)
	awaitScheduled(t, c, c.Home, 1, patience)
	confined(t, c, &held)
}

// confined checks that the admission policies know the part of Gridlatch that asks, in its namespace.
func confined(t *testing.T, c *env.Cluster, held *corev1.Pod) {
	t.Helper()
	self, _ := clientAt(t, c, c.Home, "gridlatch")
	exporter, _ := clientAt(t, c, c.Home, "gridlatch-export")
	namesake := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: held.Namespace, Name: "gridlatch"}}
	create(t, c, namesake)
	if _, err := c.Kubectl(t.Context(), "create", "rolebinding", "namesake", "-n", held.Namespace, "--clusterrole=edit", "--serviceaccount="+held.Namespace+":gridlatch"); err != nil {
		t.Fatal(err)
	}
	stranger, _ := clientAt(t, c, held.Namespace, "gridlatch")
	patch := func(as client.Client, text string) error {
		return as.Patch(t.Context(), held.DeepCopy(), client.RawPatch(merge, []byte(text)), client.DryRunAll)
	}
	configMap := func(as client.Client, name string) error {
		return as.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: c.Home, Name: name}}, client.DryRunAll)
	}
	anchor := func(kind, text string) error {
		o := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: kind}, ObjectMeta: metav1.ObjectMeta{Name: "gridlatch"}}
		if kind == "ServiceAccount" {
			o.APIVersion, o.Namespace = "v1", c.Home
		}
		return self.Patch(t.Context(), o, client.RawPatch(merge, []byte(text)), client.DryRunAll)
	}
	create(t, c, &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "gridlatch"}, Value: 1}) // it comes with the Deployment
	important := pod(held.Namespace, "important", nil)
	important.Spec.PriorityClassName = "gridlatch"
	const subjects = `{"subjects":[{"kind":"ServiceAccount","name":"gridlatch","namespace":"default"}]}`
	const mark = `{"metadata":{"annotations":{"gridlatch.dev/reason":"x"}}}`
	for name, tt := range map[string]struct{ err, refusedBy string }{
		"its own mark":                   {text(patch(self, mark)), ""},
		"a label of somebody else":       {text(patch(self, `{"metadata":{"labels":{"theirs":"x"}}}`)), "gridlatch-confined"},
		"an image":                       {text(patch(self, `{"spec":{"activeDeadlineSeconds":1}}`)), "gridlatch-confined-spec"},
		"a history":                      {text(configMap(self, "gridlatch-history-x")), ""},
		"another ConfigMap":              {text(configMap(self, "x")), "gridlatch-histories"},
		"a forecast by the exporter":     {text(configMap(exporter, "carbon-intensity-x")), ""},
		"another ConfigMap by the same":  {text(configMap(exporter, "x")), "gridlatch-forecasts"},
		"a mark by one of the same name": {text(patch(stranger, mark)), "gridlatch-keys"},
		"its own finalizer":              {text(anchor("ClusterRole", `{"metadata":{"finalizers":["gridlatch.dev/release"]}}`)), ""},
		"a finalizer of somebody else":   {text(anchor("ClusterRole", `{"metadata":{"finalizers":["example.com/x"]}}`)), "gridlatch-anchors"},
		"a label that gives rights":      {text(anchor("ClusterRole", `{"metadata":{"labels":{"rbac.authorization.k8s.io/aggregate-to-view":"true"}}}`)), "gridlatch-anchors"},
		"who has its rights":             {text(anchor("ClusterRoleBinding", subjects)), "gridlatch-anchors"},
		"its account":                    {text(anchor("ServiceAccount", `{"metadata":{"annotations":{"x":"y"}}}`)), "gridlatch-anchors"},
		"its PriorityClass by a tenant":  {text(c.Client.Create(t.Context(), important, client.DryRunAll)), "gridlatch-priority"},
	} {
		if tt.refusedBy == "" && tt.err != "" || !strings.Contains(tt.err, "'"+tt.refusedBy+"'") && tt.refusedBy != "" {
			t.Errorf("%s: refused by %q, want %q", name, tt.err, tt.refusedBy)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
