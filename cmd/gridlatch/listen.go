package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/gridlatch/gridlatch/certs"
	"github.com/gridlatch/gridlatch/feed"
	"github.com/gridlatch/gridlatch/gating"
	"github.com/gridlatch/gridlatch/serving"
)

// scrapes bounds the answers with metrics that are in the making.
const scrapes = 4

// listen serves in every replica, from before the caches are filled; not at all if
// the address is 0. All listeners are ours, since controller-runtime's own know no
// bounds: not for connections, and not for how long a body may take.
func listen(mgr ctrl.Manager, name, flag, address string, handler http.Handler, secure *tls.Config) error {
	if address == "0" {
		return nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	listener = serving.Bound(listener)
	if secure != nil {
		listener = tls.NewListener(listener, secure)
	}
	grace := 5 * time.Second
	server := &manager.Server{Name: name, Server: serving.NewServer(handler), Listener: listener, ShutdownTimeout: &grace}
	if err := mgr.Add(server); err != nil {
		return fmt.Errorf("add to manager: %w", err)
	}
	return nil
}

// presenting makes servers present the certificate of the directory, or our own.
func presenting(mgr ctrl.Manager, o *options, source *certs.Source) (*tls.Config, error) {
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.certDir == "" {
		source.TLS(secure)
		return secure, nil
	}
	watcher, err := certwatcher.New(filepath.Join(o.certDir, "tls.crt"), filepath.Join(o.certDir, "tls.key"))
	if err != nil {
		return nil, fmt.Errorf("--cert-dir: %w", err)
	}
	if err := mgr.Add(watcher); err != nil {
		return nil, fmt.Errorf("add to manager: %w", err)
	}
	secure.GetCertificate = watcher.GetCertificate
	return secure, nil
}

// authenticated makes a server want certificates of its callers, if a flag says by
// whom they have to be signed.
func authenticated(secure *tls.Config, flag, ca string) (*tls.Config, error) {
	if ca == "" {
		return secure, nil
	}
	config, err := serving.Authenticate(secure, ca)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return config, nil
}

// listenMetrics serves /metrics.
func listenMetrics(mgr ctrl.Manager, address string) error {
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(metrics.Registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.HTTPErrorOnError, MaxRequestsInFlight: scrapes,
	}))
	return listen(mgr, "metrics", "--metrics-bind-address", address, mux, nil)
}

// listenProbes makes /readyz green once the webhook has a certificate to serve
// with, the caches are filled and each forecast has been looked for. A replica that
// has been there stays ready without an API server: it holds by what it knows.
func listenProbes(mgr ctrl.Manager, o *options, secure *tls.Config, records *gating.Records, feed *feed.Feed) error {
	certified := func(*http.Request) error {
		_, err := secure.GetCertificate(&tls.ClientHelloInfo{})
		return err
	}
	synced := func(req *http.Request) error {
		if err := filled(mgr)(req); err != nil {
			return err
		}
		if !records.Synced() {
			return errors.New("the records of what was decided on are not there yet")
		}
		return feed.Ready()
	}
	return probe(mgr, o.probeBind, map[string]healthz.Checker{"webhook": certified, "caches": latched(synced)})
}

// latched asks a check until it has succeeded once.
func latched(check healthz.Checker) healthz.Checker {
	var ready atomic.Bool
	return func(req *http.Request) error {
		if ready.Load() {
			return nil
		}
		err := check(req)
		if err == nil {
			ready.Store(true)
		}
		return err
	}
}

// filled fails until the caches of a manager are filled.
func filled(mgr ctrl.Manager) healthz.Checker {
	return func(req *http.Request) error {
		ctx, cancel := context.WithTimeout(req.Context(), time.Second)
		defer cancel()
		if !mgr.GetCache().WaitForCacheSync(ctx) {
			return errors.New("the caches are not filled yet")
		}
		return nil
	}
}

// probe serves /readyz with these checks, and /healthz.
func probe(mgr ctrl.Manager, address string, ready map[string]healthz.Checker) error {
	mux := http.NewServeMux()
	for path, checks := range map[string]map[string]healthz.Checker{
		"/readyz":  ready,
		"/healthz": {"ping": healthz.Ping},
	} {
		handler := http.StripPrefix(path, &healthz.Handler{Checks: checks})
		mux.Handle(path, handler)
		mux.Handle(path+"/", handler) // one check by its name
	}
	return listen(mgr, "probes", "--health-probe-bind-address", address, mux, nil)
}
