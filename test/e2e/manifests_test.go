package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	schedulerv1 "k8s.io/kube-scheduler/config/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/gridlatch/gridlatch/test/env"
)

// TestTheExampleIsAdmittedAsItIs installs what a platform owner would: in a namespace
// that enforces the restricted pod security standard, both replicas, what keeps their
// CA, and the exporter are admitted and scheduled. The nodes are simulated, so they do nothing.
func TestTheExampleIsAdmittedAsItIs(t *testing.T) {
	t.Parallel()
	c := env.Start(t, env.Nodes(2))
	example, err := os.ReadFile("../../docs/example/kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rendered := kustomize(t, strings.ReplaceAll(string(example), " gridlatch/manifests/", " MANIFESTS/"))
	if _, err := c.KubectlInput(t.Context(), rendered, "apply", "--validate=strict", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, 2*patience, func(ctx context.Context) error {
		for name, want := range map[string]int32{"gridlatch": 2, "gridlatch-certs": 1, "gridlatch-export": 1} {
			var d appsv1.Deployment
			if err := c.Client.Get(ctx, client.ObjectKey{Namespace: env.Namespace, Name: name}, &d); err != nil {
				return err
			}
			if d.Status.ReadyReplicas != want {
				return fmt.Errorf("deployment %s: %+v", name, d.Status)
			}
			if image := d.Spec.Template.Spec.Containers[0].Image; image != "registry.example.com/gridlatch:dev" {
				return fmt.Errorf("the image of %s is %s, not that of the example", name, image)
			}
		}
		return nil
	})
	// with nobody at the webhook's service, work is created all the same
	ns := namespace(t, c)
	create(t, c, pod(ns, "unheld", tolerant()))
	awaitScheduled(t, c, ns, 1, patience)
}

// TestWhoMayViewMaySeePolicies binds the ClusterRole view, and our own.
func TestWhoMayViewMaySeePolicies(t *testing.T) {
	for _, role := range []string{"view", "gridlatch-view"} {
		if _, err := cluster.Kubectl(t.Context(), "create", "clusterrolebinding", "test-"+role, "--clusterrole="+role, "--user=reads-by-"+role); err != nil {
			t.Fatal(err)
		}
		env.Eventually(t, patience, func(ctx context.Context) error { // roles are aggregated by a controller
			_, err := cluster.Kubectl(ctx, "get", "carbonpolicies", "--as=reads-by-"+role)
			return err
		})
		if _, err := cluster.Kubectl(t.Context(), "delete", "carbonpolicy", "any", "--as=reads-by-"+role); err == nil || !strings.Contains(err.Error(), "Forbidden") {
			t.Errorf("%s may delete policies: %v", role, err)
		}
	}
}

// TestWhoHasTheRoleOfReadersReadsTheReport has an account with the Role gridlatch-report-reader, and no other right.
func TestWhoHasTheRoleOfReadersReadsTheReport(t *testing.T) {
	const account = "auditor"
	ns := namespace(t, cluster)
	create(t, cluster, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: account}})
	c, kubeconfig := clientOf(t, ns, account)
	if _, stderr, err := pluginAs(t, kubeconfig, "report"); err == nil || !strings.Contains(stderr, "gridlatch-report-reader") {
		t.Errorf("without the role: %v: %s", err, stderr)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.Namespace, Name: ns + "-" + account},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "gridlatch-report-reader"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: ns, Name: account}},
	}
	create(t, cluster, binding)
	t.Cleanup(func() { _ = cluster.Client.Delete(context.WithoutCancel(t.Context()), binding) })
	env.Eventually(t, patience, func(context.Context) error { // until the authorizer knows
		stdout, stderr, err := pluginAs(t, kubeconfig, "report")
		if err != nil || strings.Contains(stderr, "forbidden") || !strings.Contains(stdout, "could wait") {
			return fmt.Errorf("%w: %s%s", err, stdout, stderr)
		}
		return nil
	})
	for name, err := range map[string]error{
		"secrets":          c.List(t.Context(), &corev1.SecretList{}, client.InNamespace(env.Namespace)),
		"other ConfigMaps": c.List(t.Context(), &corev1.ConfigMapList{}, client.InNamespace("kube-system")),
		"a write":          c.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: env.Namespace, Name: "gridlatch-ledger-2026-01-01"}}),
	} {
		if !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// overlay renders the base with components as in a user's own overlay.
func overlay(t *testing.T, components ...string) string {
	t.Helper()
	return kustomize(t, "resources: [MANIFESTS/base]\n"+env.Components(components...))
}

// kustomize renders a kustomization, in which MANIFESTS is ours.
func kustomize(t *testing.T, text string) string {
	t.Helper()
	rendered, err := cluster.Kustomize(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	return rendered
}

// TestTheExtenderComponentIsAdmittedAsItIs installs it with the second scheduler,
// whose configuration is to be that of the first in all that matters.
func TestTheExtenderComponentIsAdmittedAsItIs(t *testing.T) {
	t.Parallel()
	c := env.Start(t, env.Nodes(2))
	if _, err := c.KubectlInput(t.Context(), overlay(t, "extender"), "apply", "--validate=strict", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	const second = "../../manifests/components/extender/second-scheduler.yaml"
	if _, err := c.Kubectl(t.Context(), "apply", "--validate=strict", "-f", second); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, 2*patience, func(ctx context.Context) error {
		for name, want := range map[string]int32{"gridlatch": 2, "gridlatch-scheduler": 1} {
			var d appsv1.Deployment
			if err := c.Client.Get(ctx, client.ObjectKey{Namespace: env.Namespace, Name: name}, &d); err != nil {
				return err
			}
			if d.Status.ReadyReplicas != want {
				return fmt.Errorf("deployment %s: %+v", name, d.Status)
			}
		}
		return nil
	})
	var service corev1.Service
	if err := c.Client.Get(t.Context(), client.ObjectKey{Namespace: env.Namespace, Name: "gridlatch"}, &service); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(service.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == 9444 && p.TargetPort.StrVal == "extender" }) {
		t.Errorf("the service has no port for the scheduler: %+v", service.Spec.Ports)
	}
	var config corev1.ConfigMap
	if err := c.Client.Get(t.Context(), client.ObjectKey{Namespace: env.Namespace, Name: "gridlatch-scheduler"}, &config); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile("../../manifests/components/extender/scheduler.yaml")
	if err != nil {
		t.Fatal(err)
	}
	of := func(text string) []schedulerv1.Extender {
		var parsed schedulerv1.KubeSchedulerConfiguration
		if err := yaml.UnmarshalStrict([]byte(text), &parsed); err != nil || len(parsed.Extenders) != 2 {
			t.Fatalf("%v\n%s", err, text)
		}
		for i := range parsed.Extenders {
			parsed.Extenders[i].URLPrefix, parsed.Extenders[i].TLSConfig.CAFile, parsed.Extenders[i].TLSConfig.CAData = "", "", nil
		}
		return parsed.Extenders
	}
	if diff := cmp.Diff(of(strings.ReplaceAll(string(first), "CA_DATA", "")), of(config.Data["scheduler.yaml"])); diff != "" {
		t.Error(diff)
	}
}

// TestTheNetworkPolicyComponentIsAdmittedAsItIs, and opens every port that Gridlatch
// has for others.
func TestTheNetworkPolicyComponentIsAdmittedAsItIs(t *testing.T) {
	rendered := overlay(t, "extender", "network-policy")
	if _, err := cluster.KubectlInput(t.Context(), rendered, "apply", "--dry-run=server", "--validate=strict", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	var d appsv1.Deployment
	find(t, rendered, "Deployment", "gridlatch", &d)
	var np networkingv1.NetworkPolicy
	find(t, rendered, "NetworkPolicy", "gridlatch", &np)
	var opened []string
	for _, rule := range np.Spec.Ingress {
		for _, port := range rule.Ports {
			opened = append(opened, port.Port.String())
		}
	}
	for _, port := range d.Spec.Template.Spec.Containers[0].Ports {
		want := port.Name != "probes" // which are the kubelet's
		if got := slices.Contains(opened, port.Name) || slices.Contains(opened, strconv.Itoa(int(port.ContainerPort))); got != want {
			t.Errorf("port %s: opened %v, want %v", port.Name, got, want)
		}
	}
	if pod := d.Spec.Template.Labels; !selects(np, pod) {
		t.Errorf("it is for pods with %v, and ours have %v", np.Spec.PodSelector.MatchLabels, pod)
	}
}

// selects reports whether a policy is for pods with labels.
func selects(np networkingv1.NetworkPolicy, pod labels.Set) bool {
	return len(np.Spec.PodSelector.MatchLabels) > 0 && labels.SelectorFromSet(np.Spec.PodSelector.MatchLabels).Matches(pod)
}

// TestOnlyTheExporterHasAWayOut reads the ports to which the parts may connect.
func TestOnlyTheExporterHasAWayOut(t *testing.T) {
	rendered := overlay(t, "network-policy")
	for name, want := range map[string][]string{
		"gridlatch": {"443", "6443"}, "gridlatch-certs": {"443", "6443"}, "gridlatch-export": {"3128", "443", "53", "6443", "80", "8080"},
	} {
		var np networkingv1.NetworkPolicy
		find(t, rendered, "NetworkPolicy", name, &np)
		var opened []string
		for _, rule := range np.Spec.Egress {
			for _, port := range rule.Ports {
				opened = append(opened, port.Port.String())
			}
		}
		slices.Sort(opened)
		if diff := cmp.Diff(want, slices.Compact(opened)); diff != "" {
			t.Errorf("%s may connect to (-want +got):\n%s", name, diff)
		}
		var d appsv1.Deployment
		find(t, rendered, "Deployment", name, &d)
		if pod := d.Spec.Template.Labels; !selects(np, pod) {
			t.Errorf("the policy is for pods with %v, and those of %s have %v", np.Spec.PodSelector.MatchLabels, name, pod)
		}
	}
}

// TestTheExporterCannotAskTheMetadataServersOfClouds looks at all rules but that for DNS.
func TestTheExporterCannotAskTheMetadataServersOfClouds(t *testing.T) {
	var np networkingv1.NetworkPolicy
	find(t, overlay(t, "network-policy"), "NetworkPolicy", "gridlatch-export", &np)
	left, want := map[string]int{}, map[string]int{"169.254.0.0/16": 2, "fe80::/10": 2, "fd00:ec2::254/128": 2} // rules
	for _, rule := range np.Spec.Egress {
		for _, peer := range rule.To {
			if peer.IPBlock == nil || rule.Ports[0].Port.IntValue() == 53 {
				continue
			}
			for _, cidr := range peer.IPBlock.Except {
				left[cidr]++
			}
			if len(peer.IPBlock.Except) == 0 {
				t.Errorf("%s is open for ports %v, with all link-local addresses", peer.IPBlock.CIDR, rule.Ports)
			}
		}
	}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Errorf("left out (-want +got):\n%s", diff)
	}
}

// TestWithCertManagerNothingOfOursMayWriteCertificates looks at what is left of the
// part that does so without.
func TestWithCertManagerNothingOfOursMayWriteCertificates(t *testing.T) {
	own, managed := overlay(t), overlay(t, "cert-manager")
	for _, text := range []string{"gridlatch-certs", "- mutatingwebhookconfigurations", "- gridlatch-ca"} {
		if !strings.Contains(own, text) || strings.Contains(managed, text) {
			t.Errorf("%s: without cert-manager %v, want true; with it %v, want false", text, strings.Contains(own, text), strings.Contains(managed, text))
		}
	}
}

// find reads an object out of what kustomize has rendered.
func find(t *testing.T, rendered, kind, name string, into client.Object) {
	t.Helper()
	for document := range strings.SplitSeq(rendered, "\n---\n") {
		var about metav1.PartialObjectMetadata
		if err := yaml.Unmarshal([]byte(document), &about); err != nil {
			t.Fatal(err)
		}
		if about.Kind != kind || about.Name != name {
			continue
		}
		if err := yaml.UnmarshalStrict([]byte(document), into); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("there is no %s %s", kind, name)
}
