// Package trust makes KEDA trust the certificate of Gridlatch's scaler.
//
// The triggers that Gridlatch rewrites name the ClusterTriggerAuthentication gridlatch. It names the
// ConfigMap gridlatch-scaler-ca in the namespace of KEDA, whose ca.crt has the CA. The leader writes both by
// server-side apply, once KEDA's CustomResourceDefinition is there, and writes again what
// somebody has changed. Nothing is written while all is right. [Remove] deletes both.
//
// After the CA has changed, ca.crt has the new one and each earlier one that is still valid. KEDA reads
// it again when a call to the scaler has failed. An empty ca.crt makes KEDA trust what its
// system trusts, as for certificates of a public CA.
package trust

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/certs"
	"github.com/gridlatch/gridlatch/watching"
)

const (
	// Authentication is the name of the ClusterTriggerAuthentication.
	Authentication = "gridlatch"
	// ConfigMap is the name of the ConfigMap with the CA.
	ConfigMap = "gridlatch-scaler-ca"
	// caKey is the key of the CA in the ConfigMap.
	caKey = "ca.crt"
	// fieldManager is who writes the fields.
	fieldManager = "gridlatch"
	// lookInterval is how often the two are looked at. Nobody tells of a ConfigMap that has changed.
	lookInterval = time.Minute
	// minPause is how long to wait between two looks at least: somebody else may write the same objects, too.
	minPause = time.Second
	// retryPause is how long to wait after a failure.
	retryPause = 5 * time.Second
	// maxBundleBytes bounds the earlier CAs that are kept.
	maxBundleBytes = 64 << 10
)

// Keeper keeps both objects right. All fields are required but Rotated and IsLeaving.
type Keeper struct {
	// Client writes, and Live reads from the API server.
	Client client.Client
	Live   client.Reader
	// Definitions tells whether KEDA is installed.
	Definitions metadata.Interface
	// Namespace is KEDA's.
	Namespace string
	// CA returns the CA in PEM, empty if KEDA is to trust what its system trusts. It returns an
	// error while the CA is not known.
	CA func() ([]byte, error)
	// Rotated tells that there may be another CA.
	Rotated <-chan struct{}
	// IsLeaving reports whether Gridlatch is being removed. Nothing is written then.
	IsLeaving func() bool
	Clock     clock.Clock
}

// Start keeps both objects right until the context ends. A manager calls Start on the leader.
func (k *Keeper) Start(ctx context.Context) error {
	woken := make(chan struct{}, 1)
	wake := func() {
		select {
		case woken <- struct{}{}:
		default: // a look is due already
		}
	}
	authentications := &watching.Resource{
		Definitions: k.Definitions, Name: authenticationKind().GroupVersion().WithResource("clustertriggerauthentications"),
		Only: Authentication, Keep: keepName, Changed: wake,
	}
	authentications.AddHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { wake() }, UpdateFunc: func(_, _ any) { wake() }, DeleteFunc: func(any) { wake() },
	})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		authentications.Run(ctx)
	}()
	defer func() { <-ended }()
	k.run(ctx, woken, func() bool { return authentications.IsKnown() && !authentications.IsAbsent() })
	return nil
}

// run looks at both objects whenever something may have changed.
func (k *Keeper) run(ctx context.Context, woken <-chan struct{}, hasKEDA func() bool) {
	for {
		pause := lookInterval
		if hasKEDA() && (k.IsLeaving == nil || !k.IsLeaving()) {
			if err := k.look(ctx); err != nil && ctx.Err() == nil {
				log.FromContext(ctx).Error(err, "cannot make KEDA trust the scaler, trying again")
				pause = retryPause
			}
		}
		k.await(ctx, minPause, nil, nil)
		k.await(ctx, pause-minPause, woken, k.Rotated)
		if ctx.Err() != nil {
			return
		}
	}
}

// await waits for a time, or until something tells of a change.
func (k *Keeper) await(ctx context.Context, pause time.Duration, woken, rotated <-chan struct{}) {
	timer := k.Clock.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-woken:
	case <-rotated:
	case <-timer.C():
	}
}

// look writes what is not right.
func (k *Keeper) look(ctx context.Context) error {
	ca, err := k.CA()
	if err != nil {
		return err
	}
	kept := emptyConfigMap(k.Namespace)
	if err := k.Live.Get(ctx, client.ObjectKeyFromObject(kept), kept); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read ConfigMap %s/%s: %w", k.Namespace, ConfigMap, err)
	}
	old, _, _ := unstructured.NestedString(kept.Object, "data", caKey) // what cannot be read is replaced
	wanted := emptyConfigMap(k.Namespace)
	wanted.Object["data"] = map[string]any{caKey: string(bundle(old, ca, k.Clock.Now()))}
	if err := k.write(ctx, kept, wanted, "data"); err != nil {
		return err
	}
	there := emptyAuthentication()
	if err := k.Live.Get(ctx, client.ObjectKeyFromObject(there), there); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read ClusterTriggerAuthentication %s: %w", Authentication, err)
	}
	wanted = emptyAuthentication()
	wanted.Object["spec"] = map[string]any{"configMapTargetRef": []any{
		map[string]any{"parameter": "caCert", "name": ConfigMap, "key": caKey},
	}}
	return k.write(ctx, there, wanted, "spec")
}

// bundle returns the CA and the earlier ones that are still valid.
func bundle(old string, ca []byte, now time.Time) []byte {
	if len(ca) == 0 || len(old) > maxBundleBytes {
		return ca
	}
	return certs.MergeBundles([]byte(old), ca, now)
}

// write applies an object if what is there has another content or lacks a label.
func (k *Keeper) write(ctx context.Context, there, wanted *unstructured.Unstructured, content string) error {
	labels := there.GetLabels()
	isRight := equality.Semantic.DeepEqual(there.Object[content], wanted.Object[content])
	for key, value := range wanted.GetLabels() {
		isRight = isRight && labels[key] == value
	}
	if isRight {
		return nil
	}
	err := k.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(wanted), client.FieldOwner(fieldManager), client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("apply %s %s: %w", wanted.GetKind(), wanted.GetName(), err)
	}
	return nil
}

// Remove deletes both objects. It does nothing where KEDA is not installed, or where Gridlatch has no
// right to them. A leader that runs, and is not leaving, writes both again as soon as it is told that the
// ClusterTriggerAuthentication has gone. So that one goes last.
func Remove(ctx context.Context, c client.Client, namespace string) error {
	var problems []error
	for _, object := range []*unstructured.Unstructured{emptyConfigMap(namespace), emptyAuthentication()} {
		err := c.Delete(ctx, object)
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) && !meta.IsNoMatchError(err) {
			problems = append(problems, fmt.Errorf("delete %s %s: %w", object.GetKind(), object.GetName(), err))
		}
	}
	return errors.Join(problems...)
}

// NeedLeaderElection returns true, because one replica writes.
func (k *Keeper) NeedLeaderElection() bool { return true }

func authenticationKind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "keda.sh", Version: "v1alpha1", Kind: "ClusterTriggerAuthentication"}
}

func emptyAuthentication() *unstructured.Unstructured {
	return named(authenticationKind(), "", Authentication)
}

func emptyConfigMap(namespace string) *unstructured.Unstructured {
	return named(schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, namespace, ConfigMap)
}

func named(kind schema.GroupVersionKind, namespace, name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{}}
	o.SetGroupVersionKind(kind)
	o.SetNamespace(namespace)
	o.SetName(name)
	o.SetLabels(map[string]string{
		"app.kubernetes.io/name": "gridlatch", "app.kubernetes.io/component": "keda", "app.kubernetes.io/part-of": "gridlatch",
	})
	return o
}

// keepName keeps the name of an object. Only that it has changed is of interest.
func keepName(object any) (any, error) {
	o, ok := object.(metav1.Object)
	if !ok {
		return object, nil
	}
	kept := &metav1.PartialObjectMetadata{}
	kept.Name, kept.ResourceVersion, kept.UID = o.GetName(), o.GetResourceVersion(), o.GetUID()
	return kept, nil
}
