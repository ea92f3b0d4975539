package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/certs"
	"github.com/gridlatch/gridlatch/extender"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating"
)

// extend answers kube-scheduler, in every replica.
func extend(ctx context.Context, mgr ctrl.Manager, o *options, source *certs.Source, p placing) error {
	nodes := &extender.Nodes{}
	informer, err := mgr.GetCache().GetInformer(ctx, gating.NodeMetadata(), cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	if _, err := informer.AddEventHandler(nodes); err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	if err := forgetDeleted(ctx, mgr, nodes); err != nil {
		return err
	}
	e := &extender.Extender{Nodes: nodes, Terms: p.terms, Now: p.policies.Clock.Now, Metrics: extender.NewMetrics(metrics.Registry)}
	secure, err := extenderTLS(mgr, o, source)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", o.extenderBind)
	if err != nil {
		return fmt.Errorf("--extender-bind-address: %w", err)
	}
	grace := 5 * time.Second
	return mgr.Add(&manager.Server{
		Name: "extender", Server: newExtenderServer(e.Handler()), Listener: tls.NewListener(listener, secure), ShutdownTimeout: &grace,
	})
}

// forgetDeleted drops what is known of a policy as soon as that is deleted: no pod
// may ever name it again.
func forgetDeleted(ctx context.Context, mgr ctrl.Manager, nodes *extender.Nodes) error {
	informer, err := mgr.GetCache().GetInformer(ctx, &v1alpha1.CarbonPolicy{}, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch policies: %w", err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{DeleteFunc: func(object any) {
		if name, err := toolscache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil { // policies have no namespace
			nodes.Forget(name)
		}
	}})
	if err != nil {
		return fmt.Errorf("watch policies: %w", err)
	}
	return nil
}

// newExtenderServer bounds what a caller can take up. HTTP/2 has nothing to offer
// to one that makes one request at a time.
func newExtenderServer(handler http.Handler) *http.Server {
	server := &http.Server{
		Handler: handler, Protocols: new(http.Protocols), MaxHeaderBytes: 16 << 10,
		ReadHeaderTimeout: 2 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, // it gives up after 0.5 s
		IdleTimeout: 2 * time.Minute, // kube-scheduler closes idle connections after 90 s
	}
	server.Protocols.SetHTTP1(true)
	return server
}

// extenderTLS presents the webhook's certificate, and asks for one if it is said
// by whom that has to be signed.
func extenderTLS(mgr ctrl.Manager, o *options, source *certs.Source) (*tls.Config, error) {
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.certDir == "" {
		source.TLS(secure)
	} else {
		watcher, err := certwatcher.New(filepath.Join(o.certDir, "tls.crt"), filepath.Join(o.certDir, "tls.key"))
		if err != nil {
			return nil, fmt.Errorf("--cert-dir: %w", err)
		}
		if err := mgr.Add(watcher); err != nil {
			return nil, fmt.Errorf("add to manager: %w", err)
		}
		secure.GetCertificate = watcher.GetCertificate
	}
	if o.extenderCA == "" {
		return secure, nil
	}
	return verifying(secure, o.extenderCA)
}

// verifying makes a server want a certificate that one in a file has signed. The
// file is read once to see that it can be.
func verifying(secure *tls.Config, ca string) (*tls.Config, error) {
	configure := func(*tls.ClientHelloInfo) (*tls.Config, error) {
		pool, err := readPool(ca)
		if err != nil {
			return nil, fmt.Errorf("--extender-client-ca: %w", err)
		}
		config := secure.Clone()
		config.ClientCAs, config.ClientAuth = pool, tls.RequireAndVerifyClientCert
		return config, nil
	}
	if _, err := configure(nil); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: secure.MinVersion, GetConfigForClient: configure}, nil
}

func readPool(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: want certificates in PEM", path)
	}
	return pool, nil
}

// placing tells the extender what the policies and the forecasts say. The
// policies need not know of nodes: to look for those anew takes longer than an
// answer may, and only plans need it.
type placing struct {
	policies gating.Policies
	store    *forecast.Store
}

// terms are what the placing of a pod depends on: the prediction is that which
// its start was planned with.
func (p placing) terms(ctx context.Context, pod *metav1.PartialObjectMetadata, now time.Time) (extender.Terms, error) {
	name := pod.Annotations[gating.PolicyName]
	if name == "" {
		name = gating.NamespacePolicy(ctx, p.policies.Reader, pod.Namespace)
	}
	policy, err := p.policies.Get(ctx, name)
	if err != nil {
		if apierrors.IsNotFound(err) {
			err = errors.Join(extender.ErrNoPolicy, err)
		}
		return extender.Terms{Policy: name}, err
	}
	task := gating.TaskOf(policy, pod)
	terms := extender.Terms{
		Policy: policy.Name, Buckets: policy.Buckets(), Duration: task.Duration,
		Home: gating.HomeOf(policy, pod), Strict: gating.Strict(pod, task, now),
	}
	book := p.store.Book(policy.Source)
	for _, l := range policy.GridLocations() {
		expected, _ := policy.Predict(book, l.Name, now)
		terms.Locations = append(terms.Locations, extender.Location{Name: l.Name, NodeSelector: l.NodeSelector, Expected: expected.Series})
	}
	return terms, nil
}
