// The life of a shop through an SDK of 2014. Prints every answer as JSON: {name: answer}. What it sends comes from the test.
//
//   node flow.js wechat-api|co-wechat-api   with BASE, APPID, SECRET, PICTURE (a path) and SENT (JSON) in the environment
'use strict';

const { promisify } = require('util');
const { BASE, APPID, SECRET, PICTURE, SENT } = process.env;
const sent = JSON.parse(SENT);
const name = process.argv[2];

// As docs/facade.md tells: where the SDK finds the API is set on the instance.
function wechatApi() {
  const API = require('wechat-api');
  const api = new API(APPID, SECRET);
  api.endpoint = BASE;
  return (method, ...args) => promisify(api[method]).apply(api, args).catch(told);
}

function coWechatApi() {
  const API = require('co-wechat-api');
  const api = new API(APPID, SECRET);
  api.prefix = BASE + '/cgi-bin/';
  api.merchantPrefix = BASE + '/merchant/';
  return (method, ...args) => api[method](...args).catch(told);
}

function told(error) {
  return { failed: error.name, code: error.code, message: error.message };
}

async function main() {
  const call = name === 'wechat-api' ? wechatApi() : coWechatApi();
  const said = {};
  const ask = async (as, method, ...args) => (said[as] = await call(method, ...args));

  await ask('children', 'getSubCats', 1);
  await ask('skus', 'getSKUs', sent.category);
  await ask('properties', 'getProperties', sent.category);
  const picture = await ask('picture', 'uploadPicture', PICTURE);
  const product = { ...sent.product };
  product.product_base = { ...product.product_base, main_img: picture.image_url };
  const { product_id: id } = await ask('created', 'createGoods', product);
  await ask('updated', 'updateGoods', { ...product, product_id: id, product_base: { ...product.product_base, name: sent.renamed } });
  await ask('listed', 'updateGoodsStatus', id, 1);
  await ask('got', 'getGoods', id);
  await ask('on sale', 'getGoodsByStatus', 1);
  await ask('more', 'updateStock', 7, id, sent.sku);
  await ask('fewer', 'updateStock', -2, id, sent.sku);
  await ask('too few', 'updateStock', -100000, id, sent.sku);

  const { template_id: template } = await ask('freight', 'addExpressTemplate', { delivery_template: sent.template });
  await ask('freight changed', 'updateExpressTemplate', { template_id: template, delivery_template: { ...sent.template, Name: sent.renamed } });
  await ask('freight got', 'getExpressTemplateById', template);
  await ask('all freight', 'getAllExpressTemplates');

  const { group_id: group } = await ask('group', 'createGoodsGroup', '最新上架', [id]);
  await ask('group renamed', 'updateGoodsGroup', group, '全球热卖');
  await ask('group emptied', 'updateGoodsForGroup', group, [], [id]);
  await ask('group filled', 'updateGoodsForGroup', group, [id], []);
  await ask('group got', 'getGroupById', group);
  await ask('all groups', 'getAllGroups');

  const modules = (count) => ({ module_infos: [{ eid: 1, group_info: { group_id: group, filter: { count } } }] });
  const shelf = { shelf_data: modules(2), shelf_banner: picture.image_url, shelf_name: '货架' };
  const { shelf_id: shelfId } = await ask('shelf', 'createShelf', shelf);
  await ask('shelf changed', 'updateShelf', { ...shelf, shelf_id: shelfId, shelf_data: modules(4) });
  await ask('shelf got', 'getShelfById', shelfId);
  await ask('all shelves', 'getAllShelves');

  if (sent.clears) {
    await ask('shelf gone', 'deleteShelf', shelfId);
    await ask('group gone', 'deleteGoodsGroup', group);
    await ask('freight gone', 'deleteExpressTemplate', template);
    await ask('delisted', 'updateGoodsStatus', id, 0);
    await ask('deleted', 'deleteGoods', id);
    await ask('missing', 'getGoods', id);
  }
  console.log(JSON.stringify(said));
}

main();
