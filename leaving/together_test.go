package leaving

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// authorizer is an API server that authorizes a request by its headers, and whose first patch takes away
// all rights.
func authorizer(t *testing.T, http2 bool) *rest.Config {
	t.Helper()
	var revoked atomic.Bool
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if revoked.Load() {
			http.Error(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`, http.StatusForbidden)
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil || string(body) != "patch" || req.Method != http.MethodPatch {
			http.Error(w, "want a patch", http.StatusBadRequest)
			return
		}
		revoked.Store(true)
	}))
	server.EnableHTTP2 = http2
	server.StartTLS()
	t.Cleanup(server.Close)
	return &rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
}

func TestPatchesThatTakeAwayTheRightToEachOtherAreSentTogether(t *testing.T) {
	for name, http2 := range map[string]bool{"by HTTP/1": false, "by HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			config := authorizer(t, http2)
			results, err := patchTogether(t.Context(), config, []string{"/a", "/b", "/c", "/d"}, types.MergePatchType, []byte("patch"))
			if err != nil {
				t.Fatal(err)
			}
			for i, err := range results {
				if err != nil {
					t.Errorf("patch %d: %v", i, err)
				}
			}
			late, err := patchTogether(t.Context(), config, []string{"/late"}, types.MergePatchType, []byte("patch"))
			if err != nil || !apierrors.IsForbidden(late[0]) {
				t.Errorf("after the rights are gone: %v, %v", late, err)
			}
		})
	}
}

func TestPatchesEndWithTheirContext(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() }))
	t.Cleanup(server.Close)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	results, err := patchTogether(ctx, &rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}, []string{"/a"}, types.MergePatchType, []byte("patch"))
	if err != nil || results[0] == nil {
		t.Errorf("%v, %v", results, err)
	}
}
