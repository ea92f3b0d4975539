package provider

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/forecast"
)

// failing answers with each status in turn, and then with a forecast.
func failing(t *testing.T, header http.Header, statuses ...int) *server {
	n := 0
	return serve(t, func(w http.ResponseWriter, _ *http.Request) {
		n++
		if n > len(statuses) {
			fmt.Fprint(w, electricityMapsForecast)
			return
		}
		for name, values := range header {
			w.Header()[name] = values
		}
		http.Error(w, `{"error":"the key em-key-123 may not do this\u001b[31m"}`, statuses[n-1])
	})
}

func TestFailedAttempts(t *testing.T) {
	for name, test := range map[string]struct {
		statuses   []int
		retryAfter string
		want       error // nil if the forecast is there in the end
		isStatus   bool
		pauses     []time.Duration
		outcomes   []Outcome
	}{
		"a server that fails for a moment is asked again, ever later": {
			statuses: []int{500, 502, 503}, pauses: []time.Duration{time.Second, 2 * time.Second, 4 * time.Second},
			outcomes: []Outcome{OutcomeServerError, OutcomeServerError, OutcomeServerError, OutcomeOK},
		},
		"a server that keeps failing is left alone": {
			statuses: []int{500, 500, 500, 500, 500}, isStatus: true, pauses: []time.Duration{time.Second, 2 * time.Second, 4 * time.Second},
			outcomes: []Outcome{OutcomeServerError, OutcomeServerError, OutcomeServerError, OutcomeServerError},
		},
		"Retry-After in seconds is obeyed": {
			statuses: []int{429}, retryAfter: "30", pauses: []time.Duration{31 * time.Second}, outcomes: []Outcome{OutcomeRateLimited, OutcomeOK},
		},
		"Retry-After as an instant is obeyed": {
			statuses: []int{503}, retryAfter: noon.Add(20 * time.Second).Format(http.TimeFormat), pauses: []time.Duration{21 * time.Second},
			outcomes: []Outcome{OutcomeServerError, OutcomeOK},
		},
		"a server that wants to be left alone for an hour is": {
			statuses: []int{429}, retryAfter: "3600", want: ErrRateLimited, isStatus: true, outcomes: []Outcome{OutcomeRateLimited},
		},
		"a refused key stays refused":         {statuses: []int{401, 401}, want: ErrRefusedKey, isStatus: true, outcomes: []Outcome{OutcomeRefusedKey, OutcomeRefusedKey}},
		"what is not in the plan stays so":    {statuses: []int{403, 403}, want: ErrNotInPlan, isStatus: true, outcomes: []Outcome{OutcomeNotInPlan, OutcomeNotInPlan}},
		"an unknown zone stays unknown":       {statuses: []int{404}, want: ErrUnknownZone, isStatus: true, outcomes: []Outcome{OutcomeUnknownZone}},
		"a request that is wrong stays wrong": {statuses: []int{422}, isStatus: true, outcomes: []Outcome{OutcomeRejected}},
		"an answer without a body is no data": {statuses: []int{204}, want: ErrNoData, isStatus: true, outcomes: []Outcome{OutcomeNoData}},
		"a service that has ended stays so":   {statuses: []int{410}, want: ErrUnavailable, isStatus: true, outcomes: []Outcome{OutcomeUnavailable}},
		"what a server cannot do stays so":    {statuses: []int{501}, want: ErrUnavailable, isStatus: true, outcomes: []Outcome{OutcomeUnavailable}},
	} {
		t.Run(name, func(t *testing.T) {
			clock, outcomes := newClock(), []Outcome(nil)
			header := http.Header{}
			if test.retryAfter != "" {
				header.Set("Retry-After", test.retryAfter)
			}
			p := makeProvider(t, TypeElectricityMaps, failing(t, header, test.statuses...), clock, func(c *Config) {
				c.Options.Observe = func(a Attempt) { outcomes = append(outcomes, a.Outcome) }
			})
			_, err := p.Forecast(t.Context(), "DE")
			var status *StatusError
			if errors.As(err, &status) != test.isStatus || (err != nil) != test.isStatus || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("got %v", err)
			}
			if diff := cmp.Diff(test.pauses, clock.pauses); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.outcomes, outcomes); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnErrorSaysWhatTheServerSaysAndNoKey(t *testing.T) {
	s := failing(t, nil, 403)
	_, err := makeProvider(t, TypeElectricityMaps, s, newClock()).Forecast(t.Context(), "DE")
	want := `zone "DE": GET ` + s.URL + `/carbon-intensity/forecast: 403 Forbidden: not in this plan: the server says "the key [hidden] may not do this [31m"`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestNobodyIsAskedFasterThanTheLimitAllows(t *testing.T) {
	s, clock := answers(t, electricityMapsForecast), newClock()
	p := makeProvider(t, TypeElectricityMaps, s, clock)
	for range 64 {
		if _, err := p.Forecast(t.Context(), "DE"); err != nil {
			t.Fatal(err)
		}
	}
	// 150 a minute are five at once, and 146 more in the rest of the minute.
	if passed, want := clock.Now().Sub(noon), (64-maxBurst)*time.Minute/146; passed < want-time.Millisecond || passed > want+time.Second {
		t.Errorf("took %v, want %v", passed, want)
	}
}

func TestALimitHoldsInEverySpanOfItsLength(t *testing.T) {
	for name, limit := range map[string]Limit{
		"a small limit": {2, time.Minute, true}, "one request": {1, time.Hour, true}, "a second": {2, time.Second, true},
		"the usual one": ownLimit(), "WattTime": wattTimeLimit(), "Electricity Maps": electricityMapsLimit(),
	} {
		t.Run(name, func(t *testing.T) {
			pacer, now := limit.pacer(), noon
			var asked []time.Time
			for range 2*limit.Requests + maxBurst {
				now = now.Add(pacer.ReserveN(now, 1).DelayFrom(now))
				asked = append(asked, now)
			}
			for i := limit.Requests; i < len(asked); i++ {
				if passed := asked[i].Sub(asked[i-limit.Requests]); passed < limit.Per-time.Microsecond {
					t.Fatalf("%d requests in %v", limit.Requests+1, passed)
				}
			}
		})
	}
}

func TestAServerThatWantsPatienceIsLeftAloneByEveryZone(t *testing.T) {
	clock := newClock()
	s := failing(t, http.Header{"Retry-After": {"3600"}}, 429)
	p := makeProvider(t, TypeElectricityMaps, s, clock)
	if _, err := p.Forecast(t.Context(), "DE"); !errors.Is(err, ErrRateLimited) {
		t.Fatal(err)
	}
	clock.pass(20 * time.Minute)
	_, err := p.Forecast(t.Context(), "FR")
	status, ok := errors.AsType[*StatusError](err)
	if !ok || status.RetryAfter != 40*time.Minute || len(s.asked()) != 1 {
		t.Errorf("another zone: asked %d times, got %v, which asks for %v", len(s.asked()), err, status)
	}
	clock.pass(39*time.Minute + 30*time.Second)
	if _, err := p.Forecast(t.Context(), "DE"); err != nil || len(s.asked()) != 2 {
		t.Errorf("near the end: asked %d times, got %v", len(s.asked()), err)
	}
	if diff := cmp.Diff([]time.Duration{30 * time.Second}, clock.pauses); diff != "" {
		t.Error(diff)
	}
}

func TestNoServerIsLeftAloneForLongerThanSixHours(t *testing.T) {
	for _, text := range []string{"21601", "604800", "99999999999999999999999", noon.Add(30 * 24 * time.Hour).Format(http.TimeFormat)} {
		clock := newClock()
		s := failing(t, http.Header{"Retry-After": {text}}, 429)
		p := makeProvider(t, TypeElectricityMaps, s, clock)
		_, err := p.Forecast(t.Context(), "DE")
		if status, ok := errors.AsType[*StatusError](err); !ok || status.RetryAfter != 6*time.Hour {
			t.Errorf("Retry-After %s: got %v", text, err)
		}
		clock.pass(6 * time.Hour)
		if _, err := p.Forecast(t.Context(), "DE"); errors.Is(err, ErrRateLimited) || len(s.asked()) != 2 {
			t.Errorf("6 hours after Retry-After %s: asked %d times, got %v", text, len(s.asked()), err)
		}
	}
}

func TestAPauseThatBeganUnderAClockThatWasAheadIsOver(t *testing.T) {
	clock := newClock()
	s := failing(t, http.Header{"Retry-After": {"3600"}}, 429)
	p := makeProvider(t, TypeElectricityMaps, s, clock)
	clock.pass(48 * time.Hour)
	if _, err := p.Forecast(t.Context(), "DE"); !errors.Is(err, ErrRateLimited) {
		t.Fatal(err)
	}
	clock.pass(-48 * time.Hour)
	if _, err := p.Forecast(t.Context(), "DE"); err != nil || len(s.asked()) != 2 {
		t.Errorf("asked %d times, got %v", len(s.asked()), err)
	}
}

func TestNoRedirectLeavesTLS(t *testing.T) {
	open := answers(t, electricityMapsForecast)
	s := &server{Server: httptest.NewTLSServer(http.RedirectHandler(open.URL, http.StatusFound))}
	t.Cleanup(s.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	p := makeProvider(t, TypeHTTP, s, newClock(), func(c *Config) { c.ForecastURL, c.Options.CA = s.URL, ca })
	if _, err := p.Forecast(t.Context(), "DE"); err == nil || !strings.Contains(err.Error(), "redirect from https to http") || len(open.asked()) > 0 {
		t.Errorf("got %v", err)
	}
}

func TestAKeyDoesNotFollowARedirectToAnotherHost(t *testing.T) {
	thief := answers(t, electricityMapsForecast)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, thief.URL, http.StatusFound) })
	_, err := makeProvider(t, TypeElectricityMaps, s, newClock()).Forecast(t.Context(), "DE")
	if err == nil || !strings.Contains(err.Error(), "the key stays with") || len(thief.asked()) > 0 {
		t.Errorf("got %v, the thief was asked %d times", err, len(thief.asked()))
	}
	open := makeProvider(t, TypeHTTP, s, newClock(), func(c *Config) { c.ForecastURL = s.URL })
	if _, err := open.Forecast(t.Context(), "DE"); err != nil {
		t.Errorf("without a key: %v", err)
	}
}

func TestACustomCAIsTrusted(t *testing.T) {
	s := &server{Server: httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, electricityMapsForecast) }))}
	t.Cleanup(s.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	trusting := makeProvider(t, TypeElectricityMaps, s, newClock(), func(c *Config) { c.Options.CA = ca })
	if _, err := trusting.Forecast(t.Context(), "DE"); err != nil {
		t.Error(err)
	}
	clock := newClock()
	if _, err := makeProvider(t, TypeElectricityMaps, s, clock).Forecast(t.Context(), "DE"); err == nil || len(clock.pauses) > 0 {
		t.Errorf("without the CA: %v after pauses %v", err, clock.pauses)
	}
}

// TestAProxyOfTheEnvironmentIsAsked runs itself in a process of its own, since a process reads the
// environment's proxy once.
func TestAProxyOfTheEnvironmentIsAsked(t *testing.T) {
	const inChild = "GRIDLATCH_TEST_BEHIND_PROXY"
	if os.Getenv(inChild) != "" {
		p := makeProvider(t, TypeElectricityMaps, &server{Server: &httptest.Server{URL: "http://electricitymaps.invalid/v4"}}, newClock())
		if _, err := p.Forecast(t.Context(), "DE"); err != nil {
			t.Error(err)
		}
		return
	}
	proxy := answers(t, electricityMapsForecast)
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), inChild+"=1", "HTTP_PROXY="+proxy.URL, "NO_PROXY=", "no_proxy=")
	if output, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if asked := proxy.asked(); len(asked) != 1 || asked[0].URL.Host != "electricitymaps.invalid" {
		t.Errorf("the proxy was asked %d times", len(asked))
	}
}

func TestACancelledCallEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		cancel()
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	if _, err := makeProvider(t, TypeElectricityMaps, s, newClock()).Forecast(ctx, "DE"); err == nil || len(s.asked()) != 1 {
		t.Errorf("asked %d times: %v", len(s.asked()), err)
	}
}

func TestASecretThatIsAPartOfAnotherLeavesNothingOfIt(t *testing.T) {
	if got := withoutSecrets("ada and ada-pass-456", []Secret{NewSecret("ada"), NewSecret("ada-pass-456"), {}}); got != "[hidden] and [hidden]" {
		t.Error(got)
	}
}

func TestASecretDoesNotShow(t *testing.T) {
	c := Config{Type: TypeWattTime, Credentials: Credentials{Key: NewSecret("s3cret\n"), User: NewSecret("s3cret"), Password: NewSecret("s3cret")}}
	inside := struct{ c Credentials }{c.Credentials}
	text, err := c.Credentials.Key.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	for _, printed := range []string{fmt.Sprintf("%v %+v %#v %s %q", c, c, c.Credentials, c.Credentials.Key, c.Credentials.Key), fmt.Sprintf("%v %+v %#v", inside, inside, inside), string(text)} {
		if strings.Contains(printed, "s3cret") {
			t.Error(printed)
		}
	}
	if c.Credentials.Key.reveal() != "s3cret" {
		t.Error("want the secret without the newline")
	}
}

func TestConfigurationsThatCannotWork(t *testing.T) {
	for name, test := range map[string]struct {
		config Config
		want   string
	}{
		"an unknown type":                  {Config{Type: "Oracle"}, `type: "Oracle": want ElectricityMaps, WattTime`},
		"no key":                           {Config{Type: TypeElectricityMaps}, "ElectricityMaps: key: is empty"},
		"a key with a line break in it":    {Config{Type: TypeElectricityMaps, Credentials: Credentials{Key: NewSecret("a\nb")}}, "key: has a character that is not printable ASCII"},
		"no password":                      {Config{Type: TypeWattTime, Credentials: Credentials{User: NewSecret("ada")}}, "password: is empty"},
		"a base URL without a scheme":      {Config{Type: TypeEnergyCharts, BaseURL: "example.com"}, "baseURL: want a URL such as https://example.com/path"},
		"a key in a base URL":              {Config{Type: TypeEnergyCharts, BaseURL: "https://example.com?key=s3cret"}, "baseURL: has a query: want the address only"},
		"a password in a URL":              {Config{Type: TypeGridCarbon, BaseURL: "https://ada:pw@example.com"}, "baseURL: has a user or a password: want them in the Secret"},
		"a signal that nobody has":         {Config{Type: TypeUKCarbonIntensity, Signal: forecast.Signal{Kind: forecast.Marginal}}, `signal: marginal: want one of ["average, direct"]`},
		"an SDK without an address":        {Config{Type: TypeCarbonAwareSDK}, "baseURL: is empty"},
		"HTTP without a URL":               {Config{Type: TypeHTTP}, "want the URL of a forecast, or of a past, or both"},
		"HTTP with a file":                 {Config{Type: TypeHTTP, ForecastURL: "file:///etc/passwd"}, "forecastURL: want a URL such as"},
		"a header that is no header":       {Config{Type: TypeHTTP, ForecastURL: "http://x/", KeyHeader: "a b", Credentials: Credentials{Key: NewSecret("k")}}, `keyHeader: "a b": want the name of a header`},
		"certificates that are none":       {Config{Type: TypeEnergyCharts, Options: Options{CA: []byte("x")}}, "ca: no certificate in it: want PEM"},
		"a key that HTTP's header forbids": {Config{Type: TypeHTTP, ForecastURL: "http://x/", Credentials: Credentials{Key: NewSecret("kéy")}}, "key: has a character that is not printable ASCII"},
	} {
		t.Run(name, func(t *testing.T) {
			test.config.Options.Now = newClock().Now
			if _, err := New(test.config); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
	if _, err := New(Config{Type: TypeMock}); err == nil {
		t.Error("want an error without a clock")
	}
}

func TestClientsOfAPublicServerKeepItsLimitTogether(t *testing.T) {
	t.Parallel()
	const public = "https://example.test"
	limit := Limit{Requests: 2, Per: time.Minute}
	for name, tt := range map[string]struct {
		base  string
		paces *Paces
		want  time.Duration // that four requests of two clients take
	}{
		"the public address":        {public, &Paces{}, 90 * time.Second},
		"a gateway of one's own":    {"https://gateway.test", &Paces{}, 30 * time.Second},
		"nobody says who else asks": {public, nil, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := &fakeClock{now: noon}
			options := clock.options()
			options.Paces = tt.paces
			var clients []*client
			for range 2 {
				c, err := newPublicClient(options, limit, tt.base, public)
				if err != nil {
					t.Fatal(err)
				}
				clients = append(clients, c)
			}
			for range 2 {
				for _, c := range clients {
					if err := c.keepPace(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			if got := clock.Now().Sub(noon); got != tt.want {
				t.Errorf("four requests take %s, want %s", got, tt.want)
			}
			clients[0].pace.quiet.ask(&StatusError{Status: 429, RetryAfter: time.Hour}, clock.Now())
			if err := clients[1].keepPace(t.Context()); (err != nil) != (tt.want > time.Minute) {
				t.Errorf("the other client gets the error %v", err)
			}
		})
	}
}
