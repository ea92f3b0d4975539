package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/test/env"
	"github.com/gridlatch/gridlatch/webhook"
)

// serveStub answers every review at once with the patch by which Gridlatch would hold a pod, and makes a configuration
// that of the stub. The API server calls it as it calls Gridlatch in any cluster: by HTTP/1.
func (r *rig) serveStub(ctx context.Context, configuration *admissionv1.MutatingWebhookConfiguration, pod *corev1.Pod) (*http.Server, error) {
	patch, err := holding(ctx, pod)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(r.dir, "stub")
	ca, err := env.WriteCertificate(dir, "localhost")
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	for i := range configuration.Webhooks {
		configuration.Webhooks[i].ClientConfig = admissionv1.WebhookClientConfig{
			URL: ptr.To("https://localhost:" + strconv.Itoa(listener.Addr().(*net.TCPAddr).Port) + webhook.Path), CABundle: ca,
		}
	}
	server := &http.Server{Handler: stub(patch), ReadHeaderTimeout: patience, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	go func() { // until it is closed
		_ = server.ServeTLS(listener, filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	}()
	return server, nil
}

// holding is the patch by which Gridlatch holds a pod.
func holding(ctx context.Context, pod *corev1.Pod) ([]byte, error) {
	handler, err := newHandler(time.Now())
	if err != nil {
		return nil, err
	}
	body, err := reviewOf(pod)
	if err != nil {
		return nil, err
	}
	request := httptest.NewRequestWithContext(ctx, http.MethodPost, webhook.Path, bytes.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	return patchOf(answer.Body.Bytes())
}

// stub reads a review, and looks for nothing in it but the UID, which an answer repeats.
func stub(patch []byte) http.Handler {
	encoded, _ := json.Marshal(patch) // as base64: no error is possible
	bodies := sync.Pool{New: func() any { return new(bytes.Buffer) }}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body := bodies.Get().(*bytes.Buffer)
		defer bodies.Put(body)
		body.Reset()
		_, err := body.ReadFrom(req.Body)
		_, uid, ok := bytes.Cut(body.Bytes(), []byte(`"uid":"`))
		if err != nil || !ok {
			http.Error(w, errors.Join(errors.New("want a review"), err).Error(), http.StatusBadRequest)
			return
		}
		uid, _, _ = bytes.Cut(uid, []byte(`"`))
		answer := fmt.Appendf(nil, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"%s","allowed":true,"patchType":"JSONPatch","patch":%s}}`, uid, encoded)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		_, _ = w.Write(answer)
	})
}
