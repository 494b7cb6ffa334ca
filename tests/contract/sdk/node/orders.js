// The orders of a shop through an SDK of 2014. Prints every answer as JSON: {name: answer}.
//
//   node orders.js wechat-api|co-wechat-api   with BASE, APPID, SECRET and SENT {sent, gone: ids of paid orders} in the environment
'use strict';

const { promisify } = require('util');
const { BASE, APPID, SECRET, SENT } = process.env;
const sent = JSON.parse(SENT);

function told(error) {
  return { failed: error.name, code: error.code, message: error.message };
}

function calling(name) {
  const API = require(name);
  const api = new API(APPID, SECRET);
  if (name === 'wechat-api') {
    api.endpoint = BASE;
    return (method, ...args) => promisify(api[method]).apply(api, args).catch(told);
  }
  api.prefix = BASE + '/cgi-bin/';
  api.merchantPrefix = BASE + '/merchant/';
  return (method, ...args) => api[method](...args).catch(told);
}

async function main() {
  const call = calling(process.argv[2]);
  const said = {};
  const ask = async (as, method, ...args) => (said[as] = await call(method, ...args));

  await ask('paid', 'getOrdersByStatus', 2);
  await ask('since', 'getOrdersByStatus', new Date(0));
  await ask('paid since', 'getOrdersByStatus', 2, new Date(0));
  await ask('before', 'getOrdersByStatus', 2, new Date(0), new Date(86400000));
  await ask('got', 'getOrderById', sent.sent);
  await ask('shipped', 'setExpressForOrder', sent.sent, '059Yunda', '1900659372473');
  await ask('closed', 'closeOrder', sent.gone);
  await ask('not closed', 'closeOrder', sent.sent);
  await ask('on their way', 'getOrdersByStatus', 3);
  await ask('still paid', 'getOrdersByStatus', 2);
  await ask('gone', 'getOrderById', sent.gone);
  await ask('missing', 'getOrderById', '1');
  console.log(JSON.stringify(said));
}

main();
