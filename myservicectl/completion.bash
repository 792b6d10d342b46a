# shellcheck shell=bash
# bash completion of myservicectl

# an address has colons, which are no ends of words here
COMP_WORDBREAKS=${COMP_WORDBREAKS//:/}

_myservicectl() {
    local current=${COMP_WORDS[COMP_CWORD]} words word
    COMPREPLY=()
    case ${COMP_WORDS[COMP_CWORD - 1]} in
    --ca | --cert | --key)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return ;;
    --state)
        words=$(printf '%s\n' free tentative leased draining left down) ;;
    instance | drain | undrain | remove)
        words=$(myservicectl instances 2>/dev/null | awk 'NR > 1 { print $1 }') ;;
    session | release | move)
        words=$(myservicectl instances 2>/dev/null |
            awk 'NR > 1 && $7 != "-" { print $7 }') ;;
    unrevoke)
        words=$(myservicectl revocations 2>/dev/null | awk 'NR > 1 { print $1 }') ;;
    *)
        words=$(printf '%s\n' status instances instance session events drain undrain \
            release revoke revocations unrevoke move add remove)
        [[ $current != -* ]] ||
            words=$(myservicectl --help | grep -oE '^ +--[a-z-]+' | tr -d ' ') ;;
    esac

    # clients choose session ids, $(...) too: neither this shell nor the line
    # that it completes may take one for more than a word (compgen -W would)
    while read -r word; do
        [[ -z $word || $word != "$current"* ]] ||
            COMPREPLY+=("$(printf '%q' "$word")")
    done <<<"$words"
}
complete -F _myservicectl myservicectl
