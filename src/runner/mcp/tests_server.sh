# A small MCP server over standard input and output. $1: its manner, $2: a file that it notes its processes in.

answer() {
    printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$1"
}

text() {
    answer "{\"content\":[{\"type\":\"text\",\"text\":\"$1\"}]}"
}

many_x() {
    head -c "$1" /dev/zero | tr '\0' x
}

echo "started $$" >>"$2"
echo "a line on standard error" >&2
[ "$1" = stubborn ] && trap '' TERM

while IFS= read -r line || [ "$1" = stubborn ]; do
    id=${line#*'"id":'}
    id=${id%%[,\}]*}
    case $line in
    '') sleep 1 ;;
    *'"method":"initialize"'*)
        answer '{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"small","version":"1"}}'
        [ "$1" = short-lived ] && exit 0
        ;;
    *'"method":"tools/list"'*'"cursor":"2"'*)
        answer "{\"tools\":[{\"name\":\"slow\",\"inputSchema\":{\"type\":\"object\"}}]}"
        ;;
    *'"method":"tools/list"'*)
        answer "{\"nextCursor\":\"2\",\"tools\":[
            {\"name\":\"echo\",\"description\":\"$(many_x 5000)\",\"inputSchema\":{\"type\":\"object\"}},
            {\"name\":\"$(many_x 129)\",\"inputSchema\":{\"type\":\"object\"}}]}" | tr -d '\n'
        echo
        ;;
    *'"method":"tools/call"'*)
        case $line in
        *'"name":"echo"'*)
            arguments=${line#*'"arguments":'}
            arguments=${arguments%%\}*}
            answer "{\"content\":[{\"type\":\"text\",\"text\":\"one\"},{\"type\":\"text\",\"text\":\"two\"}],
                \"structuredContent\":$arguments}}" | tr -d '\n'
            echo
            ;;
        *'"name":"env"'*) text "$GIVEN ${CARGO_MANIFEST_DIR:-nothing}" ;;
        *'"name":"fail"'*) answer '{"isError":true,"content":[{"type":"text","text":"no such file"}]}' ;;
        *'"name":"die"'*) exit 3 ;;
        *'"name":"large"'*) text "$(many_x 1100000)" ;;
        *'"name":"endless"'*) many_x 5000000 ;;
        *'"name":"slow"'*)
            sleep 600 &
            echo "child $!" >>"$2"
            wait $!
            ;;
        *)
            printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32602,"message":"inner words"}}\n' "$id"
            ;;
        esac
        ;;
    esac
done
