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

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/gridlatch/gridlatch/certs"
	"github.com/gridlatch/gridlatch/feed"
	"github.com/gridlatch/gridlatch/gating"
	"github.com/gridlatch/gridlatch/serving"
)

// listen serves in every replica, also before the caches are filled. With the address 0, listen
// does nothing. All listeners are Gridlatch's own, because those of controller-runtime bound
// neither the connections nor the time that a body may take.
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

// serverTLS returns the TLS configuration of servers: with the certificate in the directory, or
// else with one that Gridlatch signs itself.
func serverTLS(mgr ctrl.Manager, o *options, source *certs.Source) (*tls.Config, error) {
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

// requireClientCertificates makes a server require client certificates, if a flag names the CA that
// must have signed them.
func requireClientCertificates(secure *tls.Config, flag, ca string) (*tls.Config, error) {
	if ca == "" {
		return secure, nil
	}
	config, err := serving.Authenticate(secure, ca)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return config, nil
}

// serveReadiness serves the probes. /readyz succeeds once the webhook has a certificate, the caches
// are filled and every forecast was looked for. After that, a replica stays ready without the API
// server, because it can hold work by what it knows.
func serveReadiness(mgr ctrl.Manager, o *options, secure *tls.Config, records *gating.Records, feed *feed.Feed) error {
	certified := func(*http.Request) error {
		_, err := secure.GetCertificate(&tls.ClientHelloInfo{})
		return err
	}
	synced := func(req *http.Request) error {
		if err := cachesFilled(mgr)(req); err != nil {
			return err
		}
		if !records.Synced() {
			return errors.New("the records of held and released work are not filled yet")
		}
		return feed.Ready()
	}
	return serveProbes(mgr, o.probeBind, map[string]healthz.Checker{"webhook": certified, "caches": onceReady(synced)})
}

// onceReady calls a check until the check has succeeded once.
func onceReady(check healthz.Checker) healthz.Checker {
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

// cachesFilled returns a check that fails until the caches of a manager are filled.
func cachesFilled(mgr ctrl.Manager) healthz.Checker {
	return func(req *http.Request) error {
		ctx, cancel := context.WithTimeout(req.Context(), time.Second)
		defer cancel()
		if !mgr.GetCache().WaitForCacheSync(ctx) {
			return errors.New("the caches are not filled yet")
		}
		return nil
	}
}

// serveProbes serves /healthz, and /readyz with these checks.
func serveProbes(mgr ctrl.Manager, address string, ready map[string]healthz.Checker) error {
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
