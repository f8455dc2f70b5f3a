# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
# For tests/bench/*.bench: each prints its part of docs/benchmarks.md (Markdown) and says on standard
# error what it does. Figures are medians over interleaved rounds: every round measures each
# configuration once, and a ratio is the median of the rounds' own ratios, with their least and greatest.

declare -F done_testing >/dev/null || . "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
ROUNDS=${BENCH_ROUNDS:-5}
TIME=${BENCH_SECONDS:-1}
samples=$SANDBOX/samples

progress() { printf '  %s\n' "$*" >&2; }

# sample GROUP CONFIGURATION VALUE: one figure of the present round.
sample() { printf '%s\t%s\t%s\t%s\n' "${round:-1}" "$1" "$2" "$3" >>"$samples"; }

# rounds FUNCTION: calls it once per round.
rounds() {
    for ((round = 1; round <= ROUNDS; round++)); do
        progress "round $round of $ROUNDS: $*"
        "$@"
    done
}

# median GROUP CONFIGURATION; ratio GROUP CONFIGURATION TO: "0.97 (0.93..1.02)", the least and the greatest;
# quartiles: the first and the third, for many short rounds.
figures() {
    perl -e '
        my ($what, $file, $group, $one, $two) = @ARGV;
        my (%a, %b);
        open my $in, "<", $file or exit 1;
        while (<$in>) {
            chomp;
            my ($round, $g, $c, $v) = split /\t/;
            next unless $g eq $group && $v =~ /^[-\d.]+$/;
            $a{$round} = $v if $c eq $one;
            $b{$round} = $v if defined $two && $c eq $two;
        }
        my @v = $what eq "median" ? values %a
              : map { $a{$_} / $b{$_} } grep { exists $b{$_} && $b{$_} > 0 } keys %a;
        @v = sort { $a <=> $b } @v or do { print "-"; exit };
        my $m = @v % 2 ? $v[@v / 2] : ($v[@v / 2 - 1] + $v[@v / 2]) / 2;
        print $what eq "median" ? ($m >= 100 ? sprintf("%.0f", $m) : sprintf("%.2f", $m))
            : $what eq "plain" ? sprintf("%.3f", $m)
            : $what eq "quartiles" ? sprintf("%.2f (%.2f..%.2f)", $m, $v[@v / 4], $v[3 * @v / 4])
            : sprintf("%.2f (%.2f..%.2f)", $m, $v[0], $v[-1]);' "$@"
}
median() { figures median "$samples" "$@"; }
ratio() { figures ratio "$samples" "$@"; }
quartiles() { figures quartiles "$samples" "$@"; }
plain_ratio() { figures plain "$samples" "$@"; }

# verdict VALUE >=|<= LIMIT: for the column that says whether the design's figure is reached.
verdict() {
    if perl -e 'exit !($ARGV[1] eq ">=" ? $ARGV[0] >= $ARGV[2] : $ARGV[0] <= $ARGV[2])' -- "$1" "$2" "$3"; then
        echo "yes ($2 $3)"
    else
        echo "**no** ($2 $3)"
    fi
}

ENGINE=$(for f in /usr/lib/*/engines-3/pkcs11.so; do [ -e "$f" ] && echo "$f" && break; done)
PKCS11_PROVIDER=$(for f in /usr/lib/*/ossl-modules/pkcs11.so; do [ -e "$f" ] && echo "$f" && break; done)

# engine_conf FILE MODULE: openssl.cnf for Debian's libp11 engine. No "init = 0": nginx never
# initialises an engine itself.
engine_conf() {
    printf '%s\n' 'openssl_conf = init' '[init]' 'engines = engines' '[engines]' 'pkcs11 = pkcs11_section' \
        '[pkcs11_section]' 'engine_id = pkcs11' "dynamic_path = $ENGINE" "MODULE_PATH = $2" \
        "PIN = $PIN" >"$1"
}

# peer_conf FILE MODULE: openssl.cnf for pkcs11-provider.
peer_conf() {
    printf '%s\n' 'openssl_conf = init' '[init]' 'providers = providers' '[providers]' \
        'default = default_section' 'pkcs11 = pkcs11_section' '[default_section]' 'activate = 1' \
        '[pkcs11_section]' "module = $PKCS11_PROVIDER" "pkcs11-module-path = $2" \
        "pkcs11-module-token-pin = $PIN" 'pkcs11-module-load-behavior = early' \
        'pkcs11-module-quirks = no-deinit no-operation-state' 'activate = 1' >"$1"
}
