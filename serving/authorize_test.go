package serving

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"
)

// guarded is a server of metrics whose API server knows the accounts prometheus and stranger by
// their tokens, and lets only prometheus get /metrics.
type guarded struct {
	authorizer *Authorizer
	clock      *clocktesting.FakePassiveClock
	handler    http.Handler
	isAway     bool
	isRevoked  bool
	reviews    int
}

func newGuarded() *guarded {
	g := &guarded{clock: clocktesting.NewFakePassiveClock(time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC))}
	clientset := &fake.Clientset{}
	clientset.AddReactor("create", "tokenreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		g.reviews++
		if g.isAway {
			return true, nil, errors.New("no API server")
		}
		review := action.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenReview).DeepCopy()
		review.Status.Authenticated = !g.isRevoked && (review.Spec.Token == "prometheus" || review.Spec.Token == "stranger")
		review.Status.User = authenticationv1.UserInfo{Username: review.Spec.Token, Groups: []string{"of " + review.Spec.Token}}
		return true, review, nil
	})
	clientset.AddReactor("create", "subjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview).DeepCopy()
		asked := review.Spec.NonResourceAttributes
		review.Status.Allowed = asked.Verb == "get" && asked.Path == "/metrics" &&
			review.Spec.User == "prometheus" && fmt.Sprint(review.Spec.Groups) == "[of prometheus]"
		return true, review, nil
	})
	g.authorizer = &Authorizer{Clientset: clientset, Clock: g.clock}
	g.handler = g.authorizer.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "figures") }))
	return g
}

// get returns the status of an answer. An answer without the right has no figures.
func (g *guarded) get(t *testing.T, method, path, authorization string) int {
	t.Helper()
	request, answer := httptest.NewRequest(method, path, nil), httptest.NewRecorder()
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	g.handler.ServeHTTP(answer, request)
	if got, want := answer.Body.String() == "figures", answer.Code == http.StatusOK; got != want {
		t.Errorf("status %d with the body %q", answer.Code, answer.Body)
	}
	return answer.Code
}

func TestOnlyAllowedCallersGetAnAnswer(t *testing.T) {
	for name, tt := range map[string]struct {
		method, path, authorization string
		want                        int
	}{
		"an account with the right":            {"GET", "/metrics", "Bearer prometheus", http.StatusOK},
		"the scheme in small letters":          {"GET", "/metrics", "bearer prometheus", http.StatusOK},
		"no token":                             {"GET", "/metrics", "", http.StatusUnauthorized},
		"an empty token":                       {"GET", "/metrics", "Bearer ", http.StatusUnauthorized},
		"a token of nobody":                    {"GET", "/metrics", "Bearer forged", http.StatusUnauthorized},
		"a password":                           {"GET", "/metrics", "Basic prometheus", http.StatusUnauthorized},
		"an account without the right":         {"GET", "/metrics", "Bearer stranger", http.StatusForbidden},
		"another path than that of the right":  {"GET", "/metrics/x", "Bearer prometheus", http.StatusForbidden},
		"another verb than that of the right":  {"POST", "/metrics", "Bearer prometheus", http.StatusForbidden},
		"an account that reads a path like it": {"GET", "//metrics", "Bearer prometheus", http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			if got := newGuarded().get(t, tt.method, tt.path, tt.authorization); got != tt.want {
				t.Errorf("status %d, want %d", got, tt.want)
			}
		})
	}
}

func TestAnAnswerOfTheAPIServerCountsForAWhile(t *testing.T) {
	g := newGuarded()
	expect := func(what string, wantStatus, wantReviews int) {
		t.Helper()
		if got := g.get(t, "GET", "/metrics", "Bearer prometheus"); got != wantStatus || g.reviews != wantReviews {
			t.Errorf("%s: status %d after %d reviews, want %d after %d", what, got, g.reviews, wantStatus, wantReviews)
		}
	}
	pass := func(d time.Duration) { g.clock.SetTime(g.clock.Now().Add(d)) }

	expect("the first scrape", http.StatusOK, 1)
	pass(answerTime - time.Second)
	expect("a scrape within the minute", http.StatusOK, 1)
	pass(time.Second)
	expect("a scrape after the minute", http.StatusOK, 2)

	g.isAway = true
	pass(answerTime)
	expect("a known caller in an outage", http.StatusOK, 3)
	if got := g.get(t, "GET", "/metrics", "Bearer stranger"); got != http.StatusServiceUnavailable {
		t.Errorf("an unknown caller in an outage: status %d", got)
	}
	pass(outageTime)
	expect("a known caller in a long outage", http.StatusServiceUnavailable, 5)

	g.isAway = false
	expect("after the outage", http.StatusOK, 6)
	g.isRevoked = true
	pass(answerTime)
	expect("a token that was revoked", http.StatusUnauthorized, 7)
	g.isAway = true
	expect("a revoked token in an outage", http.StatusServiceUnavailable, 8)
}

func TestAStrangerWhoTriesTokensHindersOnlyItself(t *testing.T) {
	g := newGuarded()
	from := func(address, token string) int {
		request, answer := httptest.NewRequest("GET", "/metrics", nil), httptest.NewRecorder()
		request.RemoteAddr = address
		request.Header.Set("Authorization", "Bearer "+token)
		g.handler.ServeHTTP(answer, request)
		return answer.Code
	}
	if got := from("10.0.0.1:1", "prometheus"); got != http.StatusOK {
		t.Fatal(got)
	}
	for i := range 100 {
		want := http.StatusUnauthorized
		if i >= strangersAtOnce {
			want = http.StatusTooManyRequests
		}
		if got := from(fmt.Sprintf("10.0.0.2:%d", i), fmt.Sprint("forged", i)); got != want {
			t.Fatalf("token %d: status %d, want %d", i, got, want)
		}
	}
	if want := 1 + strangersAtOnce; g.reviews != want {
		t.Errorf("%d reviews, want %d", g.reviews, want)
	}
	g.clock.SetTime(g.clock.Now().Add(answerTime))
	if got := from("10.0.0.1:2", "prometheus"); got != http.StatusOK {
		t.Errorf("a known caller: status %d", got)
	}
	for i := range 3 * maxAddresses {
		from(fmt.Sprintf("10.1.%d.%d:1", i/256, i%256), "forged")
		if got := len(g.authorizer.paces); got > maxAddresses {
			t.Fatalf("%d addresses are remembered", got)
		}
	}
}

func TestFewCallersAreRemembered(t *testing.T) {
	g := newGuarded()
	now := g.clock.Now()
	for i := range 3 * maxCallers {
		g.authorizer.remember(caller{path: fmt.Sprint(i)}, now)
		if got := len(g.authorizer.callers); got > maxCallers {
			t.Fatalf("%d callers are remembered", got)
		}
	}
}
