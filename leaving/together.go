package leaving

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// authorizeTime is how long patchTogether waits for the API server to ask for the first body. A proxy on
// the way may swallow the request to continue. Then the API server has authorized the requests by then.
const authorizeTime = 3 * time.Second

// maxAnswerBytes bounds what is read of an answer. Only the status of a refusal is read.
const maxAnswerBytes = 1 << 20

// patchTogether sends a patch to several objects, and returns the error for each. The API server has
// authorized all patches before it reads the first one: it authorizes a request by its headers, and asks
// for the body (100 Continue) when it is about to read the body. So a patch may take away the right to
// make the others.
func patchTogether(ctx context.Context, config *rest.Config, paths []string, kind types.PatchType, patch []byte) ([]error, error) {
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	server, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	results, requests := make([]error, len(paths)), make([]*pendingPatch, len(paths))
	var sent sync.WaitGroup
	for i, path := range paths {
		requests[i] = newPendingPatch(patch)
		sent.Go(func() { results[i] = requests[i].send(ctx, httpClient, server.JoinPath(path), kind) })
	}
	timeout, cancel := context.WithTimeout(ctx, authorizeTime)
	defer cancel()
	for _, r := range requests {
		r.awaitAuthorized(timeout)
	}
	for _, r := range requests {
		close(r.mayGo)
	}
	sent.Wait()
	return results, nil
}

// pendingPatch is a request whose headers are sent, and whose body waits for mayGo.
type pendingPatch struct {
	authorized, ended, mayGo chan struct{}
	authorize                func()
	body                     io.Reader
}

func newPendingPatch(patch []byte) *pendingPatch {
	p := &pendingPatch{authorized: make(chan struct{}), ended: make(chan struct{}), mayGo: make(chan struct{}), body: bytes.NewReader(patch)}
	p.authorize = sync.OnceFunc(func() { close(p.authorized) })
	return p
}

// Read waits until the body may be sent.
func (p *pendingPatch) Read(b []byte) (int, error) {
	<-p.mayGo
	return p.body.Read(b)
}

// awaitAuthorized waits until the API server asks for the body, or has refused the request.
func (p *pendingPatch) awaitAuthorized(ctx context.Context) {
	select {
	case <-p.authorized:
	case <-p.ended:
	case <-ctx.Done():
	}
}

// send sends the request and returns the API server's refusal.
func (p *pendingPatch) send(ctx context.Context, c *http.Client, target *url.URL, kind types.PatchType) error {
	defer close(p.ended)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got100Continue: p.authorize})
	request, err := http.NewRequestWithContext(ctx, http.MethodPatch, target.String(), p)
	if err != nil {
		return fmt.Errorf("make a request: %w", err)
	}
	request.Header.Set("Content-Type", string(kind))
	request.Header.Set("Accept", "application/json")
	request.Header.Set("Expect", "100-continue")
	response, err := c.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	if err != nil || response.StatusCode < http.StatusBadRequest {
		return err
	}
	var status metav1.Status
	if json.Unmarshal(answer, &status) != nil || status.Code == 0 {
		return errors.New(response.Status)
	}
	return &apierrors.StatusError{ErrStatus: status}
}
