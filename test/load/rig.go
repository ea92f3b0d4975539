package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/test/env"
)

const (
	namespace   = "load"
	webhookName = "gridlatch"
	patience    = time.Minute // for what takes a moment
	workers     = 32          // of every client; also the controller's own number
)

// A rig is a cluster on which Gridlatch can be installed and taken away. Its clients speak protobuf, as Kubernetes' own
// controllers do.
type rig struct {
	cluster    *env.Cluster
	clientset  kubernetes.Interface
	metadata   metadata.Interface
	dir        string
	port       int
	components []string        // of the manifests
	flags      []string        // of the controller, whenever it is started
	controller *env.Controller // nil while Gridlatch is not there
	others     []*env.Program  // that run until the end
}

// newRig starts a cluster without Gridlatch, of one node unless the options say otherwise.
func newRig(ctx context.Context, options ...env.Option) (r *rig, err error) {
	log.Print("starting a cluster")
	r = &rig{}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if r.dir, err = os.MkdirTemp("", "gridlatch-load-"); err != nil {
		return r, fmt.Errorf("make a directory: %w", err)
	}
	if r.port, err = env.ReservePort(); err != nil {
		return r, err
	}
	if r.cluster, err = env.Run(ctx, append([]env.Option{env.Nodes(1)}, options...)...); err != nil {
		return r, err
	}
	protobuf := rest.CopyConfig(r.cluster.Config)
	protobuf.ContentType = "application/vnd.kubernetes.protobuf"
	if r.clientset, err = kubernetes.NewForConfig(protobuf); err != nil {
		return r, fmt.Errorf("connect: %w", err)
	}
	if r.metadata, err = metadata.NewForConfig(protobuf); err != nil {
		return r, fmt.Errorf("connect: %w", err)
	}
	return r, r.prepare(ctx)
}

// prepare makes the namespace, which is ready once it has its service account.
func (r *rig) prepare(ctx context.Context) error {
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if _, err := r.clientset.CoreV1().Namespaces().Create(ctx, object, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create namespace: %w", err)
	}
	return poll(ctx, patience, func(ctx context.Context) error {
		_, err := r.clientset.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// close leaves nothing behind. It can be called at any time.
func (r *rig) close() error {
	var failed []error
	for _, other := range r.others {
		failed = append(failed, other.Stop())
	}
	if r.controller != nil {
		failed = append(failed, r.controller.Stop())
	}
	if r.cluster != nil {
		failed = append(failed, r.cluster.Stop())
	}
	return errors.Join(append(failed, os.RemoveAll(r.dir))...)
}

// keep has a program run until the rig is closed: run starts it, with a name for its log.
func (r *rig) keep(ctx context.Context, name string, run func(ctx context.Context, log string) (*env.Program, error)) error {
	other, err := run(ctx, filepath.Join(r.dir, name+".log"))
	if err == nil {
		r.others = append(r.others, other)
	}
	return err
}

// install brings Gridlatch there: its manifests, its process, and a forecast by which it is better to wait. It returns
// when pods are held.
func (r *rig) install(ctx context.Context) error {
	if err := r.cluster.Install(ctx, r.port, r.components...); err != nil {
		return err
	}
	if err := r.cluster.Forecast(ctx, falling(time.Now())...); err != nil {
		return err
	}
	if err := r.restart(ctx); err != nil {
		return err
	}
	return poll(ctx, patience, func(ctx context.Context) error { return r.probe(ctx, true) })
}

// restart runs the controller anew, without a gap for the webhook longer than that takes.
func (r *rig) restart(ctx context.Context, flags ...string) error {
	if err := r.stop(); err != nil {
		return err
	}
	controller, err := r.cluster.RunController(ctx, r.port, filepath.Join(r.dir, "gridlatch.log"), slices.Concat(r.flags, flags)...)
	if err != nil {
		return err
	}
	r.controller = controller
	return nil
}

// remove takes Gridlatch away: its process, and the configuration by which the API server would call it.
func (r *rig) remove(ctx context.Context) error {
	if err := r.stop(); err != nil {
		return err
	}
	return r.configure(ctx, nil)
}

// rules are what the API server does for Gridlatch when something is created, fit to be created anew.
type rules struct {
	configuration *admissionv1.MutatingWebhookConfiguration
	bindings      []admissionv1.ValidatingAdmissionPolicyBinding
}

// policyDelay is how long it may take until the API server goes by a policy, or does no more: it looks every second.
const policyDelay = 3 * time.Second

// rules returns those that there are.
func (r *rig) rules(ctx context.Context) (*rules, error) {
	client := r.clientset.AdmissionregistrationV1()
	configuration, err := client.MutatingWebhookConfigurations().Get(ctx, webhookName, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get the webhook's configuration: %w", err)
	}
	configuration.ObjectMeta = metav1.ObjectMeta{Name: webhookName}
	bindings, err := client.ValidatingAdmissionPolicyBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the bindings of policies: %w", err)
	}
	for i := range bindings.Items {
		bindings.Items[i].ObjectMeta = metav1.ObjectMeta{Name: bindings.Items[i].Name}
	}
	return &rules{configuration, bindings.Items}, nil
}

// configure makes the API server call Gridlatch and go by its policies or, with nil, not, and returns when it does so.
func (r *rig) configure(ctx context.Context, a *rules) error {
	client := r.clientset.AdmissionregistrationV1()
	if err := client.MutatingWebhookConfigurations().Delete(ctx, webhookName, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete the webhook's configuration: %w", err)
	}
	if err := client.ValidatingAdmissionPolicyBindings().DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		return fmt.Errorf("delete the bindings of policies: %w", err)
	}
	if a != nil {
		if _, err := client.MutatingWebhookConfigurations().Create(ctx, a.configuration, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create the webhook's configuration: %w", err)
		}
		for i := range a.bindings {
			if _, err := client.ValidatingAdmissionPolicyBindings().Create(ctx, &a.bindings[i], metav1.CreateOptions{}); err != nil {
				return fmt.Errorf("bind a policy: %w", err)
			}
		}
	}
	time.Sleep(policyDelay)
	return poll(ctx, patience, func(ctx context.Context) error { return r.probe(ctx, a != nil) })
}

func (r *rig) stop() error {
	if r.controller == nil {
		return nil
	}
	stopped := r.controller
	r.controller = nil
	return stopped.Stop()
}

// probe returns an error unless a pod that asks to wait would be held, or not. It creates nothing.
func (r *rig) probe(ctx context.Context, want bool) error {
	probe := waiting(newPod("probe"), time.Now().Add(12*time.Hour))
	probe.Labels = map[string]string{v1alpha1.DelayTolerantAnnotation: "true"} // as with the component by-label
	got, err := r.clientset.CoreV1().Pods(namespace).Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return fmt.Errorf("create a pod: %w", err)
	}
	if held := hold.HasGate(got.Spec.SchedulingGates); held != want {
		return fmt.Errorf("a pod is held: %t, want %t; it says %v", held, want, got.Annotations)
	}
	return nil
}

// poll is env.Poll for so long.
func poll(ctx context.Context, timeout time.Duration, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return env.Poll(ctx, check)
}
