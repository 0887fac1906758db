"""The load generators on a made-up clock: no test here waits. Laws of queues that they must reproduce."""

import math

import numpy as np
import pytest
from scipy import stats

from bench.scenarios import discarded, needed, offline, percentile, poisson, server, single_stream
from sensijax.core import ArgumentError


class FakeClock:
    """Time that passes when somebody works or waits."""

    def __init__(self, start: float = 1000.0):
        self.time = start

    def now(self):
        return self.time

    def wait_until(self, at):
        self.time = max(self.time, at)


class FakeSystem:
    """Answers in given seconds, of which a query may take more."""

    def __init__(self, clock, seconds, stalls=None):
        self.clock, self.seconds, self.stalls, self.asked = clock, seconds, stalls or {}, []

    def __call__(self, i):
        self.asked.append(i)
        service = self.seconds if np.isscalar(self.seconds) else self.seconds[i]
        self.clock.time += service + self.stalls.get(i, 0.0)


QUERIES, SERVICE, STALL = 2000, 0.002, 1.0


def stalled(arrivals):
    clock = FakeClock()
    return server(FakeSystem(clock, SERVICE, {500: STALL}), arrivals, clock)


def test_a_stall_is_in_the_p99_of_the_server_within_5_percent_of_theory():
    # Arrivals every 10 ms: query 500 + j has waited for the rest of the stall, less what the queue has been shortened
    # by: STALL + SERVICE - j (gap - SERVICE). So the n/100-th slowest has j = n/100.
    rate = 100.0
    load = stalled(np.arange(1, QUERIES + 1) / rate)
    theory = STALL + SERVICE - 0.01 * QUERIES * (1 / rate - SERVICE)
    assert percentile(load.latencies, 99)[0] == pytest.approx(theory, rel=0.05)
    assert theory > 0.8
    assert load.latencies.max() == pytest.approx(STALL + SERVICE)


@pytest.mark.parametrize("seed", range(3))
def test_so_it_is_with_poisson_arrivals(seed):
    # Of the queries at the stall's end, fluid theory; the gaps of 20 arrivals vary by 1/sqrt(20) of 0.2 s: 4.5 % of it.
    load = stalled(poisson(100.0, QUERIES, seed))
    assert percentile(load.latencies, 99)[0] == pytest.approx(STALL + SERVICE - 20 * 0.008, rel=3 * 0.045)


def test_a_closed_loop_does_not_see_the_stall():
    clock = FakeClock()
    load = single_stream(FakeSystem(clock, SERVICE, {500: STALL}), QUERIES, clock)
    assert percentile(load.latencies, 99)[0] == pytest.approx(SERVICE)
    assert load.latencies.max() == pytest.approx(STALL + SERVICE)
    assert load.seconds == pytest.approx(QUERIES * SERVICE + STALL)


def test_latency_runs_from_the_schedule_by_lindleys_recursion():
    rng = np.random.default_rng(0)
    arrivals, service = poisson(100.0, 500, 7), rng.exponential(0.008, 500)
    clock = FakeClock()
    system = FakeSystem(clock, service)
    load = server(system, arrivals, clock)
    waits = [0.0]
    for gap, before in zip(np.diff(arrivals), service, strict=False):
        waits.append(max(0.0, waits[-1] + before - gap))
    np.testing.assert_allclose(load.latencies, np.array(waits) + service, atol=1e-9)
    assert system.asked == list(range(500))
    assert load.seconds == pytest.approx(arrivals[-1] + load.latencies[-1])
    np.testing.assert_allclose(load.service, service, atol=1e-9)


def test_the_mean_wait_is_that_of_pollaczek_and_khinchine():
    # M/D/1 at half load: mean wait rho s / (2 (1 - rho)). Over 20 independent runs the mean is within four standard
    # errors: a false alarm in 1,000 (t of 19 degrees).
    rate, service, n = 50.0, 0.01, 4000
    waits = []
    for seed in range(20):
        clock = FakeClock()
        load = server(FakeSystem(clock, service), poisson(rate, n, seed), clock)
        waits.append(load.latencies.mean() - service)
    rho = rate * service
    theory = rho * service / (2 * (1 - rho))
    error = np.std(waits, ddof=1) / math.sqrt(len(waits))
    assert abs(np.mean(waits) - theory) < 4 * error
    assert error < 0.05 * theory
    assert load.busy == pytest.approx(rho, rel=0.1)


def test_poisson_arrivals_in_distribution():
    # Three tests at 0.001 each, fixed seed: gaps are exponential, do not remember, and counts vary as they should.
    rate, n = 250.0, 20_000
    arrivals = poisson(rate, n, 11)
    gaps = np.diff(arrivals, prepend=0.0)
    assert (gaps > 0).all()
    assert stats.kstest(gaps, "expon", args=(0, 1 / rate)).pvalue > 0.001
    assert stats.spearmanr(gaps[:-1], gaps[1:]).pvalue > 0.001
    windows = int(arrivals[-1] / 0.1)
    counts = np.histogram(arrivals, bins=windows, range=(0, windows * 0.1))[0]
    dispersion = (windows - 1) * counts.var(ddof=1) / counts.mean()
    assert 0.0005 < stats.chi2.cdf(dispersion, windows - 1) < 0.9995
    assert (poisson(rate, n, 11) == arrivals).all() and (poisson(rate, n, 12) != arrivals).any()


def test_such_tests_would_notice_regular_arrivals():
    gaps = np.full(1000, 0.004)
    assert stats.kstest(gaps, "expon", args=(0, 0.004)).pvalue < 1e-6


def test_lag_of_the_generator_is_counted_and_reported():
    class Sleepy(FakeClock):
        def wait_until(self, at):
            self.time = max(self.time, at + 0.003)

    clock = Sleepy()
    load = server(FakeSystem(clock, SERVICE), np.arange(1, 50) / 10, clock)
    assert load.lag == pytest.approx(0.003)
    np.testing.assert_allclose(load.latencies, SERVICE + 0.003, atol=1e-9)


def test_offline_counts_what_the_job_says():
    clock = FakeClock()

    def job():
        clock.time += 2.0
        return 1.5

    np.testing.assert_allclose(offline(job, 3, clock), [[1.5] * 3, [2.0] * 3])
    np.testing.assert_allclose(offline(lambda: job() and None, 2, clock), [[2.0] * 2, [2.0] * 2])


@pytest.mark.parametrize(("percent", "queries"), [(50, 11), (90, 64), (99, 662), (99.9, 6636)])
def test_needed_queries_are_mlperfs(percent, queries):
    # 64, 662 and 6,636: mlcommons/inference #1629 and mlcommons/mlperf_automotive #56. 11 by the same rule.
    assert needed(percent) == queries
    assert percentile(np.arange(queries), percent)[1] == queries - 1
    with pytest.raises(ArgumentError, match=f"at least {queries}"):
        percentile(np.arange(queries - 1), percent)


@pytest.mark.parametrize(
    ("percent", "queries", "left_out"),
    [(90, 2048, 172), (90, 7469, 685), (90, 100, 2), (99, 1179125, 11539), (99, 2091550, 20579)],
)
def test_early_stopping_leaves_out_as_many_as_loadgen(percent, queries, left_out):
    # "Would discard N highest latency queries" of logs in mlcommons' repositories of inference results.
    assert discarded(queries, percent) == left_out


def test_the_estimate_bounds_the_percentile_in_99_of_100_runs():
    # 2,000 runs of 700 exponential latencies; more than 35 above the bound has a probability below 0.001 at 1 %.
    rng = np.random.default_rng(3)
    true = -math.log(0.01)
    missed = sum(percentile(rng.exponential(size=700), 99)[1] < true for _ in range(2000))
    assert missed <= 35
    assert stats.binom.sf(35, 2000, 0.01) < 0.001


@pytest.mark.parametrize("rate", [0, -1.0, math.inf, math.nan])
def test_a_rate_that_is_none(rate):
    with pytest.raises(ArgumentError, match="rate"):
        poisson(rate, 10, 0)


@pytest.mark.parametrize("arrivals", [[], [1.0, 0.5]])
def test_a_schedule_that_is_none(arrivals):
    with pytest.raises(ArgumentError, match="arrivals"):
        server(lambda i: None, np.array(arrivals))
