package exporter

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/exporter/provider"
)

const (
	// checkInterval is how often the exporter looks at what it cannot watch: a ConfigMap that somebody
	// else writes.
	checkInterval = 30 * time.Second
	// minCheckInterval is the shortest time between two looks, however much changes.
	minCheckInterval = time.Second
	// strayPause is how long a ConfigMap stays that no policy names any more. A policy may be deleted
	// and created again at once, and smaller plans do not give the collected intensities again.
	strayPause = 10 * time.Minute
)

// Exporter keeps the ConfigMaps with the forecasts of providers. All exported fields but IsManual
// are required.
type Exporter struct {
	// Client reads CarbonPolicies, nodes, and the metadata of the exporter's ConfigMaps from a cache,
	// and writes to the API server.
	Client client.Client
	// APIReader reads Secrets and ConfigMaps without a cache.
	APIReader client.Reader
	// Namespace is Gridlatch's.
	Namespace string
	Clock     clock.Clock
	// Options tell how to ask providers.
	Options provider.Options
	Metrics *Metrics
	// IsManual says that the exporter asks only providers that a policy names.
	IsManual bool

	paces provider.Paces // that all askers keep together

	mu      sync.Mutex
	running map[source]*runningAsker
	advised []target // that no asker can write

	before map[string]target    // by policy, of the last look
	strays map[string]time.Time // since when a ConfigMap is no target, by name

	foreign foreignForecast
}

// runningAsker is an asker with its goroutine.
type runningAsker struct {
	asker *asker
	stop  context.CancelFunc
	done  chan struct{}
}

// ByObject returns what the cache of a manager must keep.
func ByObject(namespace string) map[client.Object]cache.ByObject {
	ours := cache.Config{LabelSelector: labels.SelectorFromSet(labels.Set{managedByLabel: managedBy})}
	return map[client.Object]cache.ByObject{
		&corev1.Node{}:           {Transform: stripNode},
		newMetadata("ConfigMap"): {Namespaces: map[string]cache.Config{namespace: ours}, Transform: cache.TransformStripManagedFields()},
		&v1alpha1.CarbonPolicy{}: {Transform: stripPolicy},
	}
}

func newMetadata(kind string) *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: kind})
	return m
}

// maxProviderID bounds what is kept of a providerID. No cloud writes one as long, but a kubelet
// could.
const maxProviderID = 512

// stripNode keeps of a node where the node is: the region, and the providerID, whose cloud has that
// region. The spec is read for the providerID only.
func stripNode(object any) (any, error) {
	n, ok := object.(*corev1.Node)
	if !ok {
		return object, nil
	}
	kept := &corev1.Node{}
	kept.Name, kept.UID, kept.ResourceVersion = n.Name, n.UID, n.ResourceVersion
	kept.Spec.ProviderID = strings.Clone(n.Spec.ProviderID[:min(len(n.Spec.ProviderID), maxProviderID)])
	if region := n.Labels[corev1.LabelTopologyRegion]; region != "" {
		kept.Labels = map[string]string{corev1.LabelTopologyRegion: region}
	}
	return kept, nil
}

// stripPolicy keeps the spec of a policy.
func stripPolicy(object any) (any, error) {
	p, ok := object.(*v1alpha1.CarbonPolicy)
	if !ok {
		return object, nil
	}
	p.ManagedFields, p.Status = nil, v1alpha1.CarbonPolicyStatus{}
	return p, nil
}

// SetupWithManager makes a manager run the exporter on the leader. The manager's cache must keep
// [ByObject].
func (e *Exporter) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	changed := make(chan struct{}, 1)
	notify := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	for _, object := range []client.Object{&v1alpha1.CarbonPolicy{}, &corev1.Node{}, newMetadata("ConfigMap")} {
		informer, err := mgr.GetCache().GetInformer(ctx, object, cache.BlockUntilSynced(false))
		if err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		if _, err := informer.AddEventHandler(handlerOf(notify)); err != nil {
			return fmt.Errorf("watch: %w", err)
		}
	}
	if err := mgr.Add(&loop{e, changed}); err != nil {
		return fmt.Errorf("add to manager: %w", err)
	}
	return nil
}

// handlerOf returns a handler that is told of changes. The heartbeats of nodes are none.
func handlerOf(notify func()) toolscache.ResourceEventHandlerFuncs {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { notify() },
		DeleteFunc: func(any) { notify() },
		UpdateFunc: func(before, after any) {
			m, ok := before.(*corev1.Node)
			n, alsoOK := after.(*corev1.Node)
			if ok && alsoOK && m.Spec.ProviderID == n.Spec.ProviderID && m.Labels[corev1.LabelTopologyRegion] == n.Labels[corev1.LabelTopologyRegion] {
				return
			}
			notify()
		},
	}
}

// loop makes an exporter look at what has changed.
type loop struct {
	exporter *Exporter
	changed  <-chan struct{}
}

// Start runs the exporter until the context ends. A manager calls Start.
func (l *loop) Start(ctx context.Context) error {
	e := l.exporter
	defer e.stopAll()
	for ctx.Err() == nil {
		if err := e.check(ctx); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Error(err, "cannot look at the policies; trying again")
		}
		pause := e.Clock.After(minCheckInterval)
		select {
		case <-ctx.Done():
		case <-l.changed:
		case <-e.Clock.After(checkInterval):
		}
		select {
		case <-ctx.Done():
		case <-pause:
		}
	}
	return nil
}

// check makes askers of what the policies say, and removes ConfigMaps that no policy names any more.
func (e *Exporter) check(ctx context.Context) error {
	targets, err := e.targets(ctx)
	if err != nil {
		return err
	}
	e.assign(ctx, targets)
	found, err := e.configMaps(ctx)
	if err != nil {
		return err
	}
	versions := map[string]string{}
	for i := range found {
		versions[found[i].Name] = found[i].ResourceVersion
	}
	for _, r := range e.askers() {
		r.asker.repair(ctx, versions)
	}
	return errors.Join(e.removeStrays(ctx, found, targets), e.advise(ctx))
}

// assign starts and stops askers, so that each source has one.
func (e *Exporter) assign(ctx context.Context, targets []target) {
	bySource, advised := map[source][]target{}, []target(nil)
	for _, t := range targets {
		if t.advice != "" {
			advised = append(advised, t)
			continue
		}
		bySource[t.source] = append(bySource[t.source], t)
	}
	for s, r := range e.askers() {
		if len(bySource[s]) == 0 {
			r.stop()
			<-r.done // it writes nothing from here on
			e.mu.Lock()
			delete(e.running, s)
			e.mu.Unlock()
			continue
		}
		r.asker.assign(bySource[s])
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.advised = advised
	for s, targets := range bySource {
		if _, ok := e.running[s]; !ok {
			e.start(ctx, s, targets)
		}
	}
}

// start starts an asker. The caller holds e.mu.
func (e *Exporter) start(ctx context.Context, s source, targets []target) {
	ctx, stop := context.WithCancel(ctx)
	r := &runningAsker{asker: newAsker(e, s), stop: stop, done: make(chan struct{})}
	r.asker.assign(targets)
	if e.running == nil {
		e.running = map[source]*runningAsker{}
	}
	e.running[s] = r
	go func() {
		defer close(r.done)
		r.asker.run(ctx)
	}()
}

// stopAll ends all askers.
func (e *Exporter) stopAll() {
	for _, r := range e.askers() {
		r.stop()
		<-r.done
	}
}

// askers returns the running askers.
func (e *Exporter) askers() map[source]*runningAsker {
	e.mu.Lock()
	defer e.mu.Unlock()
	running := make(map[source]*runningAsker, len(e.running))
	for s, r := range e.running {
		running[s] = r
	}
	return running
}

// configMaps returns the ConfigMaps that the exporter has created.
func (e *Exporter) configMaps(ctx context.Context) ([]metav1.PartialObjectMetadata, error) {
	found := &metav1.PartialObjectMetadataList{}
	found.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "ConfigMapList"})
	if err := e.Client.List(ctx, found, client.InNamespace(e.Namespace), client.MatchingLabels{managedByLabel: managedBy}); err != nil {
		return nil, fmt.Errorf("list ConfigMaps: %w", err)
	}
	return slices.DeleteFunc(found.Items, func(m metav1.PartialObjectMetadata) bool { return !isOurs(&m) }), nil
}

// removeStrays deletes ConfigMaps of the exporter that have been no target for [strayPause].
func (e *Exporter) removeStrays(ctx context.Context, found []metav1.PartialObjectMetadata, targets []target) error {
	strays, problems := map[string]time.Time{}, []error(nil)
	for i := range found {
		m := &found[i]
		if slices.ContainsFunc(targets, func(t target) bool { return t.configMap() == m.Name }) {
			continue
		}
		since, ok := e.strays[m.Name]
		if !ok {
			since = e.Clock.Now()
		}
		strays[m.Name] = since
		if e.Clock.Since(since) < strayPause {
			continue
		}
		m.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"})
		if err := e.Client.Delete(ctx, m, client.Preconditions{UID: &m.UID}); client.IgnoreNotFound(err) != nil {
			problems = append(problems, fmt.Errorf("delete ConfigMap %s: %w", m.Name, err))
			continue
		}
		log.FromContext(ctx).Info("deleted a forecast that no policy names any more", "configMap", m.Name)
	}
	e.strays = strays
	return errors.Join(problems...)
}

// jitter returns a random number in [0, 1).
func (e *Exporter) jitter() float64 {
	jitter := e.Options.Jitter
	if jitter == nil {
		jitter = rand.Float64 // it spreads the questions of many clusters
	}
	return jitter()
}

// optionsOf returns the options for a provider, whose requests are counted.
func (e *Exporter) optionsOf(of provider.Type) provider.Options {
	options := e.Options
	options.Now = e.Clock.Now
	options.Observe = func(a provider.Attempt) { e.Metrics.observe(of, a) }
	options.Paces = &e.paces
	return options
}
