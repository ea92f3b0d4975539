package meter

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// requestTimeout bounds a request, and queryTimeout how long Prometheus works on a query.
	requestTimeout = 30 * time.Second
	queryTimeout   = "25s"
	// maxResponseBytes bounds a response, after decompression. A hundred pods with two states, five
	// zones and five figures each are below it.
	maxResponseBytes = 8 << 20
	// maxSeries bounds the series of a response.
	maxSeries = 40_000
	// maxErrorBytes bounds what is read of a response that tells of an error, and maxMessage what is
	// shown of it.
	maxErrorBytes, maxMessage = 4 << 10, 200
	maxRedirects              = 3
)

// newClient returns a client that never leaves the server that it was sent to.
func newClient() *http.Client {
	return &http.Client{
		Timeout: requestTimeout,
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    1,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(to *http.Request, via []*http.Request) error {
			from := via[0].URL
			switch {
			case len(via) > maxRedirects:
				return fmt.Errorf("more than %d redirects", maxRedirects)
			case to.URL.Host != from.Host || to.URL.Scheme != from.Scheme:
				return fmt.Errorf("redirect from %s://%s to %s://%s: want no other server", from.Scheme, from.Host, to.URL.Scheme, to.URL.Host)
			}
			return nil
		},
	}
}

// errTooLarge says that a response has more than anybody reads.
var errTooLarge = errors.New("the response is too large")

// ask returns the body of the response to a question.
func (m *Meter) ask(ctx context.Context, q question) ([]byte, error) {
	form := url.Values{
		"query": {q.query()}, "timeout": {queryTimeout},
		"time":             {strconv.FormatFloat(float64(q.at.UnixMilli())/1000, 'f', 3, 64)},
		"partial_response": {"false"}, // Thanos leaves out what it does not find, otherwise
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, m.url, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	response, err := m.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, refusal(response)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxResponseBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the response: %w", err)
	}
	if len(body) > maxResponseBytes {
		return nil, fmt.Errorf("%w: it has more than %d bytes", errTooLarge, maxResponseBytes)
	}
	return body, nil
}

// refusal returns what a response that is not OK says.
func refusal(response *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxErrorBytes)) // less of a message is still a message
	var said struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &said) != nil || said.Error == "" {
		return fmt.Errorf("the response is HTTP %d", response.StatusCode)
	}
	return fmt.Errorf("the response is HTTP %d: %.*q", response.StatusCode, maxMessage, said.Error)
}

// sample is one series of an answer.
type sample struct {
	labels map[string]string
	value  float64
}

// decode reads an answer. A series that cannot be read is left out.
func decode(body []byte) ([]sample, error) {
	var answer struct {
		Status string `json:"status"`
		Data   struct {
			ResultType string            `json:"resultType"`
			Result     []json.RawMessage `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("the response is no answer of Prometheus: %w", err)
	}
	switch {
	case answer.Status != "success" || answer.Data.ResultType != "vector":
		return nil, errors.New(`the response is no answer of Prometheus: want the status "success" and a vector`)
	case len(answer.Data.Result) > maxSeries:
		return nil, fmt.Errorf("%w: it has %d series, want at most %d", errTooLarge, len(answer.Data.Result), maxSeries)
	}
	var samples []sample
	for _, raw := range answer.Data.Result {
		if s, ok := decodeSample(raw); ok {
			samples = append(samples, s)
		}
	}
	return samples, nil
}

func decodeSample(raw json.RawMessage) (sample, bool) {
	var series struct {
		Metric map[string]string  `json:"metric"`
		Value  [2]json.RawMessage `json:"value"`
	}
	var text string
	if json.Unmarshal(raw, &series) != nil || json.Unmarshal(series.Value[1], &text) != nil {
		return sample{}, false
	}
	value, err := strconv.ParseFloat(text, 64)
	return sample{labels: series.Metric, value: value}, err == nil && series.Metric != nil
}
