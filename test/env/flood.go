package env

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// hostileLength is that of a hostile review: 2.2 million empty containers.
const hostileLength = 6_600_000

// HostileReviews are AdmissionReviews of which each takes many times its length if all of it is decoded.
func HostileReviews() map[string][]byte {
	const asks = `"annotations":{"gridlatch.dev/delay-tolerant":"true"}`
	list := func(item string) string {
		return strings.Repeat(item+",", hostileLength/(len(item)+1)) + item
	}
	unique := &strings.Builder{}
	for i := 0; unique.Len() < hostileLength; i++ {
		unique.WriteString(`"gridlatch.dev/` + strconv.Itoa(i) + `":"",`)
	}
	objects := map[string]string{
		"containers":  `{"metadata":{` + asks + `},"spec":{"containers":[` + list(`{}`) + `]}}`,
		"owners":      `{"metadata":{` + asks + `,"ownerReferences":[` + list(`{}`) + `]}}`,
		"gates":       `{"metadata":{` + asks + `},"spec":{"schedulingGates":[` + list(`{}`) + `]}}`,
		"annotations": `{"metadata":{"annotations":{` + unique.String() + `"gridlatch.dev/delay-tolerant":"true"}}}`,
		"affinities":  `{"metadata":{` + asks + `},"spec":{"affinity":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[` + list(`{}`) + `]}}}}`,
		"nested":      `{"metadata":{` + asks + `},"spec":{"containers":` + strings.Repeat("[", hostileLength) + `}}`,
	}
	reviews := map[string][]byte{}
	for name, object := range objects {
		reviews[name] = []byte(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"hostile","kind":{"version":"v1","kind":"Pod"},` +
			`"operation":"CREATE","namespace":"default","object":` + object + `}}`)
	}
	return reviews
}

// Flood has as many callers post these bodies to a path of the webhook, each one after the other, until the context
// ends. It returns how many have been answered, if only by a refusal.
func (g *Controller) Flood(ctx context.Context, path string, callers int, bodies map[string][]byte) int64 {
	url := "https://127.0.0.1:" + strconv.Itoa(g.Webhook) + path
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: callers} //nolint:gosec // a stranger does not care who answers
	defer transport.CloseIdleConnections()
	var answered atomic.Int64
	var all errgroup.Group
	for range callers {
		all.Go(func() error {
			for ctx.Err() == nil {
				for _, body := range bodies {
					if post(ctx, transport, url, body) {
						answered.Add(1)
					}
				}
			}
			return nil
		})
	}
	_ = all.Wait() // none fails
	return answered.Load()
}

// post reports whether there was an answer.
func post(ctx context.Context, transport *http.Transport, url string, body []byte) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return false
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := transport.RoundTrip(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err == nil
}
