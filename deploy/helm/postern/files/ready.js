const { READY_URL, KEYS_URL } = process.env
const ask = async (url, good) => {
  const answer = await fetch(url, { signal: AbortSignal.timeout(5000) })
  const body = await answer.json()
  if (!answer.ok || !good(body)) throw new Error(`${url}: ${answer.status} ${JSON.stringify(body)}`)
  console.log(`${url}: ${answer.status}`)
}
const asks = [[READY_URL, (body) => body.status === 'ready']]
if (KEYS_URL) asks.push([KEYS_URL, (body) => body.keys.length > 0])
Promise.all(asks.map(([url, good]) => ask(url, good))).catch((cause) => {
  console.error(cause)
  process.exit(1)
})
