# Completion of PROGRAM in bash: the words come from `PROGRAM __complete`.

# The word as PROGRAM would get it, in REPLY: without quotes, and with the value of a variable that stands alone. Nothing is run.
__PROGRAM_word()
{
    REPLY=${1//[\"\'\\]/}
    if [[ $REPLY =~ ^\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?$ ]]; then
        REPLY=${!BASH_REMATCH[1]}
    fi
}

__start_PROGRAM()
{
    local -a words=() lines=()
    local rest=${COMP_LINE:0:COMP_POINT} word i REPLY
    for ((i = 0; i <= COMP_CWORD; i++)); do
        local space=${rest%%[![:space:]]*}
        rest=${rest#"$space"}
        word=${COMP_WORDS[i]}
        [[ $i -eq $COMP_CWORD ]] && word=$rest
        # bash ends words at : and =, so what follows without a space belongs to the word before
        if [[ $i -eq 0 || -n $space ]]; then
            words+=("$word")
        else
            words[${#words[@]} - 1]+=$word
        fi
        rest=${rest#"$word"}
    done
    local program=PROGRAM
    type -P "${words[0]}" > /dev/null && program=${words[0]}
    for i in "${!words[@]}"; do
        __PROGRAM_word "${words[i]}"
        words[i]=$REPLY
    done
    mapfile -t lines < <("$program" __complete "${words[@]:1}" 2> /dev/null)
    COMPREPLY=()
    [[ ${#lines[@]} -eq 0 ]] && return
    local directive=${lines[-1]#:}
    unset 'lines[-1]'

    local last=${words[-1]} cut
    [[ $last == -*=* ]] && last=${last#*=}
    if ((directive & 8)); then
        for word in "${lines[@]}"; do
            mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -X "!*.$word" -- "$last")
        done
        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -d -- "$last")
        compopt -o filenames
        return
    fi
    for i in "${!lines[@]}"; do
        [[ ${lines[i]} == "$last"* ]] || unset 'lines[i]'
    done
    # what bash took for a word of its own is not told again
    cut=${last%"${last##*[:=]}"}
    [[ $COMP_WORDBREAKS == *:* ]] || cut=
    for word in "${lines[@]}"; do
        local means=${word#*$'\t'}
        word=${word%%$'\t'*}
        word=${word#"$cut"}
        # the second TAB lists; only then is there room for what the words mean
        if [[ ${COMP_TYPE:-9} -eq 63 && ${#lines[@]} -gt 1 && $means != "$word" && -n $means ]]; then
            printf -v word '%-30s (%s)' "$word" "$means"
            word=${word:0:${COLUMNS:-80} - 2}
        fi
        COMPREPLY+=("$word")
    done
    ((directive & 2)) && compopt -o nospace
    ((directive & 4)) && compopt +o default
    return 0
}

complete -o default -F __start_PROGRAM PROGRAM
