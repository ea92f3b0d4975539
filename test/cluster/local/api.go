package local

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// createWorkers is how many nodes are created at a time.
const createWorkers = 16

// An api is the little of the Kubernetes API that is needed to get a cluster going, over plain HTTP: a client library
// would cost more to build than everything else here.
type api struct {
	server, token string
	client        *http.Client
}

func newAPI(server string, c credentials) (*api, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(c.authority) {
		return nil, errors.New("the certificate authority is not PEM")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: createWorkers}
	return &api{server: server, token: c.token, client: &http.Client{Transport: transport, Timeout: 20 * time.Second}}, nil
}

// call makes a request; the answer is decoded into out if that is not nil. Any status but 2xx is a *statusError.
func (a *api) call(ctx context.Context, method, url string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+a.token)
	request.Header.Set("Content-Type", "application/json")
	response, err := a.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, url, err)
	}
	if response.StatusCode/100 != 2 {
		return &statusError{code: response.StatusCode, text: method + " " + url + ": " + strings.TrimSpace(string(answer))}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s %s: %w", method, url, err)
	}
	return nil
}

// A statusError is an answer other than success.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return fmt.Sprintf("%s (status %d)", e.text, e.code) }

// answers fails until the API server serves requests, though perhaps not all of them.
func (a *api) answers(ctx context.Context) error {
	return a.call(ctx, http.MethodGet, a.server+"/version", nil, nil)
}

func (a *api) ready(ctx context.Context) error {
	return a.call(ctx, http.MethodGet, a.server+"/readyz", nil, nil)
}

// healthy asks another component, by its port.
func (a *api) healthy(ctx context.Context, port int) error {
	return a.call(ctx, http.MethodGet, loopbackURL(port)+"/healthz", nil, nil)
}

// defaultAccountExists fails until pods can be created in the namespace default.
func (a *api) defaultAccountExists(ctx context.Context) error {
	return a.call(ctx, http.MethodGet, a.server+"/api/v1/namespaces/default/serviceaccounts/default", nil, nil)
}

// createNodes creates the nodes that do not exist yet.
func (a *api) createNodes(ctx context.Context, n int, labels NodeLabels) error {
	indexes := make(chan int)
	failures := make(chan error, createWorkers)
	var workers sync.WaitGroup
	for range min(n, createWorkers) {
		workers.Go(func() {
			var failure error
			for i := range indexes {
				if failure == nil {
					failure = a.createNode(ctx, i, labels)
				}
			}
			failures <- failure
		})
	}
	for i := range n {
		indexes <- i
	}
	close(indexes)
	workers.Wait()
	close(failures)
	var all error
	for failure := range failures {
		all = errors.Join(all, failure)
	}
	return all
}

func (a *api) createNode(ctx context.Context, i int, labels NodeLabels) error {
	type object = map[string]any
	capacity := object{"cpu": "64", "memory": "256Gi", "pods": "1000"}
	node := object{
		"apiVersion": "v1", "kind": "Node",
		"metadata": object{"name": nodeName(i), "labels": labels.of(i)},
		"status": object{"capacity": capacity, "allocatable": capacity, "addresses": []object{
			{"type": "InternalIP", "address": fmt.Sprintf("10.1.%d.%d", i/250%250, i%250+1)},
			{"type": "Hostname", "address": nodeName(i)},
		}},
	}
	err := a.call(ctx, http.MethodPost, a.server+"/api/v1/nodes", node, nil)
	var status *statusError
	if errors.As(err, &status) && status.code == http.StatusConflict {
		return nil
	}
	return err
}

// schedulableNodes counts the nodes that are ready and that the controller manager has cleared of its taint.
func (a *api) schedulableNodes(ctx context.Context) (int, error) {
	var nodes struct {
		Items []struct {
			Spec   struct{ Taints []any }
			Status struct {
				Conditions []struct{ Type, Status string }
			}
		}
	}
	if err := a.call(ctx, http.MethodGet, a.server+"/api/v1/nodes?resourceVersion=0", nil, &nodes); err != nil {
		return 0, err
	}
	count := 0
	for _, node := range nodes.Items {
		for _, c := range node.Status.Conditions {
			if c.Type == "Ready" && c.Status == "True" && len(node.Spec.Taints) == 0 {
				count++
			}
		}
	}
	return count, nil
}
