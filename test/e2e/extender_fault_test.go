package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/extender"
	"github.com/gridlatch/gridlatch/test/env"
)

// TestSchedulingGoesOnWithoutTheExtender has the scheduler meet an extender that
// is not there, that does not answer in time, and that answers rubbish.
func TestSchedulingGoesOnWithoutTheExtender(t *testing.T) {
	x := newExtender(t)
	c := regionCluster(t, x)
	marked := func(ns string) {
		t.Helper()
		for i := range 5 { // as the webhook marks them, which is away as well
			p := pod(ns, fmt.Sprint("marked-", i), tolerant())
			none := corev1.ResourceList{v1alpha1.PlacementResource: resource.Quantity{}, v1alpha1.StrictPlacementResource: resource.Quantity{}}
			p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: none, Limits: none}
			create(t, c, p)
		}
	}
	t.Run("down", func(t *testing.T) {
		ns := namespace(t, c)
		marked(ns)
		awaitScheduled(t, c, ns, 5, patience)
	})
	for name, answer := range map[string]http.HandlerFunc{
		"slow":          func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"rubbish":       func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"NodeNames": 7, [`)) },
		"unknown nodes": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"NodeNames": ["nowhere"]}`)) },
		"an error":      func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) },
	} {
		t.Run(name, func(t *testing.T) {
			calls := inPlaceOfGridlatch(t, x, answer)
			ns := namespace(t, c)
			marked(ns)
			awaitScheduled(t, c, ns, 5, patience)
			if len(calls) == 0 {
				t.Error("the scheduler has not asked")
			}
		})
	}
}

// inPlaceOfGridlatch answers the scheduler at the extender's port, with its
// certificate, for as long as the test. The channel fills with the calls.
func inPlaceOfGridlatch(t *testing.T, x *env.Extender, answer http.HandlerFunc) <-chan struct{} {
	t.Helper()
	calls := make(chan struct{}, 100)
	server := &http.Server{
		Addr: "127.0.0.1:" + strconv.Itoa(x.Port), ReadHeaderTimeout: time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case calls <- struct{}{}:
			default:
			}
			answer(w, r)
		}),
	}
	listener, err := net.Listen("tcp", server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = server.ServeTLS(listener, filepath.Join(x.Dir, "tls.crt"), filepath.Join(x.Dir, "tls.key"))
	}()
	t.Cleanup(func() { _ = server.Close() })
	return calls
}

// TestOnlyCallersWithACertificateAreAnswered has the real scheduler present one.
func TestOnlyCallersWithACertificateAreAnswered(t *testing.T) {
	x := newExtender(t)
	dir := t.TempDir()
	certificate, err := env.WriteCertificate(dir, "scheduler")
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(dir, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	configure(t, x, func(config string) string {
		return strings.Replace(config, "    caData:", "    certData: "+base64.StdEncoding.EncodeToString(certificate)+
			"\n    keyData: "+base64.StdEncoding.EncodeToString(key)+"\n    caData:", 1) // once, for both verbs
	})
	c := regionCluster(t, x)
	g := c.Gridlatch(t, x.Flag(), "--extender-client-ca="+filepath.Join(dir, "tls.crt"))
	ns := namespace(t, c)
	create(t, c, pod(ns, "asked-about", tolerant()))
	awaitScheduled(t, c, ns, 1, patience)
	if n := asked(t, g); n != 1 {
		t.Errorf("%v requests of the scheduler are counted, want one to prioritize", n)
	}
	ca, err := os.ReadFile(filepath.Join(x.Dir, "tls.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	stranger := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: env.ExtenderHost}}, Timeout: patience}
	response, err := stranger.Post("https://127.0.0.1:"+strconv.Itoa(x.Port)+extender.PrioritizePath, "application/json", bytes.NewReader([]byte("{}")))
	if err == nil {
		response.Body.Close()
		t.Errorf("without a certificate: %s, want none", response.Status)
	}
}
